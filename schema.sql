-- filmroom's index. Written to be read: every table says what a row is, columns carry the snake_case of their
-- DICOM keyword, and each index names the query it is for. The files in the data folder hold the data sets
-- themselves; this holds what is needed to find them, and can be rebuilt from them.
--
-- The program creates this in an empty database, and brings an older one to it by the steps in src/db/schema.rs.
-- The same text runs on MySQL 8.0 and later and on MariaDB 10.6 and later. Nothing here needs SUPER, triggers or
-- stored routines. Text is utf8mb4; what identifies (IDs, UIDs, AE titles) compares bytewise, what a person
-- reads compares without regard to case and accents.

-- One row: which shape this database has.
CREATE TABLE schema_version (
  version     INT UNSIGNED NOT NULL COMMENT 'shape of the tables; filmroom refuses one newer than it knows',
  upgraded_at DATETIME(6)  NOT NULL COMMENT 'UTC',
  PRIMARY KEY (version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'One row: which shape this database has';

-- A patient: (PatientID, IssuerOfPatientID), as the first instance told of them.
-- Where a data set has no Patient ID nothing says that two studies are of one person, so each such study gets a
-- patient of its own: unidentified_study holds its Study Instance UID, and is empty for everybody else.
CREATE TABLE patient (
  patient_key          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  patient_id           VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0010,0020)',
  issuer_of_patient_id VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0010,0021)',
  unidentified_study   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  patient_name         VARCHAR(324) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0010,0010), all component groups',
  patient_birth_date   DATE            NULL COMMENT '(0010,0030)',
  patient_sex          VARCHAR(16)     NOT NULL DEFAULT '' COMMENT '(0010,0040)',
  received_at          DATETIME(6)     NOT NULL COMMENT 'UTC, of the first instance',
  PRIMARY KEY (patient_key),
  UNIQUE KEY patient_by_identity (patient_id, issuer_of_patient_id, unidentified_study)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A patient: (PatientID, IssuerOfPatientID)';

-- A study, with what a study list shows of it: the patient's attributes as this study's first instance wrote them,
-- and counts that are right in the transaction that changes them.
CREATE TABLE study (
  study_key                          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  patient_key                        BIGINT UNSIGNED NOT NULL,
  study_instance_uid                 VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0020,000D)',
  patient_id                         VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0010,0020)',
  issuer_of_patient_id               VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0010,0021)',
  patient_name                       VARCHAR(324) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0010,0010), all component groups, = between them',
  patient_name_folded                VARCHAR(1000)   NOT NULL DEFAULT '' COMMENT 'patient_name without case, accents and punctuation, for searching: each component group, | between them',
  patient_name_sort                  VARCHAR(64)     NOT NULL DEFAULT '' COMMENT 'the start of patient_name_folded, for sorting',
  patient_name_second                VARCHAR(64)     GENERATED ALWAYS AS (IF(LOCATE('|', patient_name_folded) = 0, '', LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(patient_name_folded, '|', 2), '|', -1), 64))) STORED COMMENT 'the start of its second component group',
  patient_name_third                 VARCHAR(64)     GENERATED ALWAYS AS (IF(patient_name_folded LIKE '%|%|%', LEFT(SUBSTRING_INDEX(patient_name_folded, '|', -1), 64), '')) STORED COMMENT 'the start of its third component group',
  patient_birth_date                 DATE            NULL COMMENT '(0010,0030)',
  patient_birth_time                 TIME(6)         NULL COMMENT '(0010,0032)',
  patient_sex                        VARCHAR(16)     NOT NULL DEFAULT '' COMMENT '(0010,0040)',
  patient_age                        VARCHAR(16)     NOT NULL DEFAULT '' COMMENT '(0010,1010)',
  patient_size                       DOUBLE          NULL COMMENT '(0010,1020), m',
  patient_weight                     DOUBLE          NULL COMMENT '(0010,1030), kg',
  patient_comments                   VARCHAR(1024) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0010,4000)',
  study_date                         DATE            NULL COMMENT '(0008,0020)',
  study_time                         TIME(6)         NULL COMMENT '(0008,0030)',
  study_id                           VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0020,0010)',
  accession_number                   VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0008,0050)',
  study_description                  VARCHAR(255) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0008,1030)',
  referring_physician_name           VARCHAR(324) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0008,0090)',
  referring_physician_name_folded    VARCHAR(1000)   NOT NULL DEFAULT '',
  referring_physician_name_second    VARCHAR(64)     GENERATED ALWAYS AS (IF(LOCATE('|', referring_physician_name_folded) = 0, '', LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(referring_physician_name_folded, '|', 2), '|', -1), 64))) STORED,
  referring_physician_name_third     VARCHAR(64)     GENERATED ALWAYS AS (IF(referring_physician_name_folded LIKE '%|%|%', LEFT(SUBSTRING_INDEX(referring_physician_name_folded, '|', -1), 64), '')) STORED,
  physicians_of_record               VARCHAR(324) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0008,1048)',
  name_of_physicians_reading_study   VARCHAR(324) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0008,1060)',
  admitting_diagnoses_description    VARCHAR(255) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0008,1080)',
  institution_name                   VARCHAR(64) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0008,0080)',
  modalities_in_study                VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT '(0008,0061), commas between, for FIND_IN_SET',
  sop_classes_in_study               TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0008,0062), commas between',
  number_of_study_related_series     INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT '(0020,1206)',
  number_of_study_related_instances  INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT '(0020,1208)',
  size_bytes                         BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of all its files',
  demographics_differ                BOOLEAN         NOT NULL DEFAULT FALSE COMMENT 'name, birth date or sex are not those of the patient row',
  received_at                        DATETIME(6)     NOT NULL COMMENT 'UTC, of the first instance',
  changed_at                         DATETIME(6)     NOT NULL COMMENT 'UTC, of the last instance',
  PRIMARY KEY (study_key),
  UNIQUE KEY study_by_uid (study_instance_uid),
  KEY study_by_patient (patient_key, study_date),
  KEY study_by_date (study_date, study_time, study_key),
  KEY study_by_name (patient_name_sort, study_key),
  KEY study_by_patient_id (patient_id, study_key),
  KEY study_by_accession_number (accession_number, study_key),
  KEY study_by_referring_physician (referring_physician_name, study_key),
  KEY study_by_description (study_description, study_key),
  KEY study_by_modality (modalities_in_study, study_key),
  KEY study_by_birth_date (patient_birth_date, study_key),
  KEY study_by_images (number_of_study_related_instances, study_key),
  KEY study_by_referring_physician_folded (referring_physician_name_folded(64), study_key),
  KEY study_by_second_name (patient_name_second, study_key),
  KEY study_by_third_name (patient_name_third, study_key),
  KEY study_by_second_referring_physician (referring_physician_name_second, study_key),
  KEY study_by_third_referring_physician (referring_physician_name_third, study_key),
  CONSTRAINT study_of_patient FOREIGN KEY (patient_key) REFERENCES patient (patient_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A study, with what a study list shows of it';

-- A study of which instances came under another patient than the one it is filed under: nothing is refused and
-- nothing moved; a person decides.
CREATE TABLE patient_conflict (
  study_key        BIGINT UNSIGNED NOT NULL,
  patient_key      BIGINT UNSIGNED NOT NULL COMMENT 'the other patient',
  sop_instance_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'the first instance that said so',
  received_at      DATETIME(6)     NOT NULL COMMENT 'UTC',
  PRIMARY KEY (study_key, patient_key),
  KEY patient_conflict_by_patient (patient_key),
  CONSTRAINT patient_conflict_of_study FOREIGN KEY (study_key) REFERENCES study (study_key),
  CONSTRAINT patient_conflict_of_patient FOREIGN KEY (patient_key) REFERENCES patient (patient_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A study that arrived under two patients';

-- A device: what a modality says of itself. Series with equal words share a row.
CREATE TABLE equipment (
  equipment_key                   BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  identity                        BINARY(32)      NOT NULL COMMENT 'SHA-256 over the columns below',
  manufacturer                    VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0008,0070)',
  manufacturer_model_name         VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0008,1090)',
  station_name                    VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0008,1010)',
  institution_name                VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0008,0080)',
  institution_address             VARCHAR(255)    NOT NULL DEFAULT '' COMMENT '(0008,0081)',
  institutional_department_name   VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0008,1040)',
  device_serial_number            VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0018,1000)',
  software_versions               VARCHAR(255)    NOT NULL DEFAULT '' COMMENT '(0018,1020)',
  received_at                     DATETIME(6)     NOT NULL COMMENT 'UTC, first seen',
  PRIMARY KEY (equipment_key),
  UNIQUE KEY equipment_by_identity (identity),
  KEY equipment_by_station (station_name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci COMMENT = 'A device, as it describes itself';

-- A series of a study.
CREATE TABLE series (
  series_key                          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  study_key                           BIGINT UNSIGNED NOT NULL,
  equipment_key                       BIGINT UNSIGNED NOT NULL,
  series_instance_uid                 VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0020,000E)',
  modality                            VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT '(0008,0060)',
  series_number                       INT             NULL COMMENT '(0020,0011)',
  series_description                  VARCHAR(255)    NOT NULL DEFAULT '' COMMENT '(0008,103E)',
  series_date                         DATE            NULL COMMENT '(0008,0021)',
  series_time                         TIME(6)         NULL COMMENT '(0008,0031)',
  body_part_examined                  VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0018,0015)',
  protocol_name                       VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0018,1030)',
  laterality                          VARCHAR(16)     NOT NULL DEFAULT '' COMMENT '(0020,0060)',
  patient_position                    VARCHAR(16)     NOT NULL DEFAULT '' COMMENT '(0018,5100)',
  performing_physician_name           VARCHAR(324)    NOT NULL DEFAULT '' COMMENT '(0008,1050)',
  operators_name                      VARCHAR(324)    NOT NULL DEFAULT '' COMMENT '(0008,1070)',
  frame_of_reference_uid              VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT '(0020,0052)',
  performed_procedure_step_start_date DATE            NULL COMMENT '(0040,0244)',
  performed_procedure_step_start_time TIME(6)         NULL COMMENT '(0040,0245)',
  performed_procedure_step_id         VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0040,0253)',
  requested_procedure_id              VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0040,1001), of the first item of Request Attributes Sequence',
  scheduled_procedure_step_id         VARCHAR(64)     NOT NULL DEFAULT '' COMMENT '(0040,0009), likewise',
  number_of_series_related_instances  INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT '(0020,1209)',
  size_bytes                          BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of all its files',
  received_at                         DATETIME(6)     NOT NULL COMMENT 'UTC, of the first instance',
  changed_at                          DATETIME(6)     NOT NULL COMMENT 'UTC, of the last instance',
  PRIMARY KEY (series_key),
  UNIQUE KEY series_of_study_by_uid (study_key, series_instance_uid),
  KEY series_by_uid (series_instance_uid),
  KEY series_by_modality (modality),
  KEY series_by_equipment (equipment_key),
  CONSTRAINT series_of_study FOREIGN KEY (study_key) REFERENCES study (study_key),
  CONSTRAINT series_by_device FOREIGN KEY (equipment_key) REFERENCES equipment (equipment_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci COMMENT = 'A series of a study';

-- An instance and the file that holds it. The row is committed after the file is on disk, so there is never a row
-- without its file.
CREATE TABLE instance (
  instance_key               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  series_key                 BIGINT UNSIGNED NOT NULL,
  sop_instance_uid           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0008,0018)',
  sop_class_uid              VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0008,0016)',
  transfer_syntax_uid        VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0002,0010)',
  instance_number            INT              NULL COMMENT '(0020,0013)',
  content_date               DATE             NULL COMMENT '(0008,0023)',
  content_time               TIME(6)          NULL COMMENT '(0008,0033)',
  acquisition_date           DATE             NULL COMMENT '(0008,0022)',
  acquisition_time           TIME(6)          NULL COMMENT '(0008,0032)',
  acquisition_number         INT              NULL COMMENT '(0020,0012)',
  image_type                 VARCHAR(255)     NOT NULL DEFAULT '' COMMENT '(0008,0008), \\ between values',
  `rows`                     INT UNSIGNED     NULL COMMENT '(0028,0010)',
  `columns`                  INT UNSIGNED     NULL COMMENT '(0028,0011)',
  number_of_frames           INT UNSIGNED     NOT NULL DEFAULT 0 COMMENT '(0028,0008); 1 where an image does not say, 0 where there are no pixels',
  bits_allocated             SMALLINT UNSIGNED NULL COMMENT '(0028,0100)',
  photometric_interpretation VARCHAR(16)      NOT NULL DEFAULT '' COMMENT '(0028,0004)',
  slice_thickness            DOUBLE           NULL COMMENT '(0018,0050), mm',
  slice_location             DOUBLE           NULL COMMENT '(0020,1041), mm',
  slice_position             DOUBLE           NULL COMMENT 'Image Position (Patient) along the normal of Image Orientation (Patient), mm',
  completion_flag            VARCHAR(16)      NOT NULL DEFAULT '' COMMENT '(0040,A491), of documents',
  verification_flag          VARCHAR(16)      NOT NULL DEFAULT '' COMMENT '(0040,A493), of documents',
  document_title             VARCHAR(255) COLLATE utf8mb4_unicode_520_ci NOT NULL DEFAULT '' COMMENT '(0042,0010), or the meaning of Concept Name Code Sequence, or (0070,0080) Content Label',
  path                       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'of the file, below the data folder',
  size_bytes                 BIGINT UNSIGNED  NOT NULL COMMENT 'of the file',
  data_set_offset            INT UNSIGNED     NOT NULL COMMENT 'where the data set begins in the file, bytes',
  data_set_sha256            BINARY(32)       NOT NULL COMMENT 'of the data set as received',
  pixel_data_offset          BIGINT UNSIGNED  NULL COMMENT 'where the value of Pixel Data begins in the file, bytes; null where there is none or the data set is deflated',
  pixel_data_length          BIGINT UNSIGNED  NULL COMMENT 'of that value, bytes; null where it is encapsulated',
  source_ae_title            VARCHAR(16)      NOT NULL DEFAULT '' COMMENT 'calling AE title',
  source_address             VARCHAR(64)      NOT NULL DEFAULT '' COMMENT 'its IP address',
  received_at                DATETIME(6)      NOT NULL COMMENT 'UTC',
  PRIMARY KEY (instance_key),
  UNIQUE KEY instance_by_uid (sop_instance_uid),
  KEY instance_of_series (series_key, instance_number),
  CONSTRAINT instance_of_series FOREIGN KEY (series_key) REFERENCES series (series_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'An instance and the file that holds it';

-- Where the frames of an encapsulated instance are in its file, so that reading one frame costs one frame.
CREATE TABLE frame_index (
  instance_key BIGINT UNSIGNED NOT NULL,
  fragments    LONGBLOB        NOT NULL COMMENT 'see src/dicom/frame_index.rs',
  PRIMARY KEY (instance_key),
  CONSTRAINT frame_index_of_instance FOREIGN KEY (instance_key) REFERENCES instance (instance_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Where the frames of an encapsulated instance are';

-- Other content that arrived under a SOP Instance UID the archive already holds. The first stays; this is kept
-- beside it until a person has looked.
CREATE TABLE quarantine (
  quarantine_key      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  sop_instance_uid    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  sop_class_uid       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  study_instance_uid  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'as the second one says',
  series_instance_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'as the second one says',
  transfer_syntax_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  patient_id          VARCHAR(64)      NOT NULL DEFAULT '',
  patient_name        VARCHAR(324)     NOT NULL DEFAULT '',
  number_of_frames    INT UNSIGNED     NOT NULL DEFAULT 0,
  path                VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  size_bytes          BIGINT UNSIGNED  NOT NULL,
  data_set_offset     INT UNSIGNED     NOT NULL,
  data_set_sha256     BINARY(32)       NOT NULL,
  source_ae_title     VARCHAR(16)      NOT NULL DEFAULT '',
  source_address      VARCHAR(64)      NOT NULL DEFAULT '',
  received_at         DATETIME(6)      NOT NULL COMMENT 'UTC',
  PRIMARY KEY (quarantine_key),
  UNIQUE KEY quarantine_by_content (sop_instance_uid, data_set_sha256),
  KEY quarantine_by_received (received_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Other content under a known SOP Instance UID';

-- A remote AE that the administrator knows.
CREATE TABLE peer (
  peer_key     BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  ae_title     VARCHAR(16)     NOT NULL,
  host         VARCHAR(255)    NOT NULL DEFAULT '' COMMENT 'name or IP address it calls from; empty: from anywhere',
  port         SMALLINT UNSIGNED NULL COMMENT 'where it listens, if it does',
  may_echo     BOOLEAN         NOT NULL DEFAULT TRUE COMMENT 'it may verify, C-ECHO',
  may_store    BOOLEAN         NOT NULL DEFAULT TRUE COMMENT 'its C-STORE is accepted',
  may_find     BOOLEAN         NOT NULL DEFAULT FALSE COMMENT 'it may query, C-FIND',
  may_get      BOOLEAN         NOT NULL DEFAULT FALSE COMMENT 'it may retrieve to itself, C-GET',
  may_move     BOOLEAN         NOT NULL DEFAULT FALSE COMMENT 'it may have studies sent to a destination, C-MOVE',
  may_commit   BOOLEAN         NOT NULL DEFAULT TRUE COMMENT 'it may ask for storage commitment, N-ACTION',
  is_destination BOOLEAN       NOT NULL DEFAULT FALSE COMMENT 'a C-MOVE may name it as its destination',
  offers_commitment BOOLEAN    NOT NULL DEFAULT FALSE COMMENT 'it is asked for storage commitment after we have sent to it',
  tls          VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'optional' COMMENT 'optional; required; certificate: required, with the one below',
  certificate_sha256 BINARY(32) NULL COMMENT 'SHA-256 of the DER of its certificate',
  description  VARCHAR(255)    NOT NULL DEFAULT '',
  created_at   DATETIME(6)     NOT NULL COMMENT 'UTC',
  last_seen_at DATETIME(6)     NULL COMMENT 'UTC, its last association',
  PRIMARY KEY (peer_key),
  UNIQUE KEY peer_by_ae_title (ae_title)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A remote AE that the administrator knows';

-- An AE that called, or that a C-MOVE named, and was refused, so that the page can offer to allow it.
CREATE TABLE unknown_caller (
  calling_ae_title VARCHAR(16)  NOT NULL,
  address          VARCHAR(64)  NOT NULL COMMENT 'its IP address',
  called_ae_title  VARCHAR(16)  NOT NULL,
  asked_for        VARCHAR(255) NOT NULL COMMENT 'what its last call proposed, in words',
  services         VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'of which services that is',
  refusal          VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'why it was refused, in words',
  calls            INT UNSIGNED NOT NULL DEFAULT 1,
  first_seen_at    DATETIME(6)  NOT NULL COMMENT 'UTC',
  last_seen_at     DATETIME(6)  NOT NULL COMMENT 'UTC',
  PRIMARY KEY (calling_ae_title, address),
  KEY unknown_caller_by_last_seen (last_seen_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'An AE that called and was refused';

-- What an administrator changes while the program runs, by name.
CREATE TABLE setting (
  name       VARCHAR(64)  NOT NULL,
  value      TEXT         NOT NULL,
  changed_at DATETIME(6)  NOT NULL COMMENT 'UTC',
  PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'What an administrator changes while it runs';

-- What the people of each role may do. Four rows, made at start-up where they are missing; changed on a page.
CREATE TABLE role (
  role             VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'administrator, reader, technologist or referrer',
  sees_all         BOOLEAN     NOT NULL COMMENT 'every study, and not only their own',
  may_view         BOOLEAN     NOT NULL COMMENT 'look at studies',
  may_download     BOOLEAN     NOT NULL COMMENT 'take files away',
  may_upload       BOOLEAN     NOT NULL COMMENT 'put files in',
  may_edit         BOOLEAN     NOT NULL COMMENT 'correct what is stored',
  may_delete       BOOLEAN     NOT NULL,
  may_send         BOOLEAN     NOT NULL COMMENT 'to other AEs',
  may_share        BOOLEAN     NOT NULL COMMENT 'make links for people without an account',
  may_query_remote BOOLEAN     NOT NULL COMMENT 'ask other archives',
  may_administer   BOOLEAN     NOT NULL COMMENT 'people, peers, settings, the audit trail',
  changed_at       DATETIME(6) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (role)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'What the people of each role may do';

-- A person who may sign in. Rows stay when people go, because the audit trail names them: they are disabled.
CREATE TABLE user (
  user_key        BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  name            VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'what is typed to sign in, lower case',
  full_name       VARCHAR(255)    NOT NULL DEFAULT '' COMMENT 'for people',
  role            VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  password_hash   VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Argon2id, PHC string format',
  totp_secret     VARBINARY(64)   NULL COMMENT 'RFC 6238; null: no second factor',
  totp_last_step  BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'time step of the last code that was taken; none is taken twice',
  referring_names VARCHAR(2000)   NOT NULL DEFAULT '' COMMENT 'as which Referring Physician they own studies, a name a line; * at its end for anything',
  is_disabled     BOOLEAN         NOT NULL DEFAULT FALSE,
  created_at      DATETIME(6)     NOT NULL COMMENT 'UTC',
  signed_in_at    DATETIME(6)     NULL COMMENT 'UTC, last time',
  PRIMARY KEY (user_key),
  UNIQUE KEY user_by_name (name),
  KEY user_by_role (role),
  CONSTRAINT user_of_role FOREIGN KEY (role) REFERENCES role (role)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A person who may sign in';

-- A code that takes the place of a second factor once. It goes when it is used.
CREATE TABLE recovery_code (
  user_key  BIGINT UNSIGNED NOT NULL,
  code_hash BINARY(32)      NOT NULL COMMENT 'SHA-256',
  PRIMARY KEY (user_key, code_hash),
  CONSTRAINT recovery_code_of_user FOREIGN KEY (user_key) REFERENCES user (user_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A code that takes the place of a second factor once';

-- Somebody who is signed in with a browser.
CREATE TABLE session (
  session_key  BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  session_hash BINARY(32)      NOT NULL COMMENT 'SHA-256 of what the cookie holds',
  user_key     BIGINT UNSIGNED NOT NULL,
  address      VARCHAR(64)     NOT NULL DEFAULT '' COMMENT 'IP address at sign-in',
  user_agent   VARCHAR(255)    NOT NULL DEFAULT '' COMMENT 'as the browser calls itself',
  created_at   DATETIME(6)     NOT NULL COMMENT 'UTC',
  last_used_at DATETIME(6)     NOT NULL COMMENT 'UTC, to the minute',
  PRIMARY KEY (session_key),
  UNIQUE KEY session_by_hash (session_hash),
  KEY session_of_user (user_key),
  KEY session_by_last_use (last_used_at),
  CONSTRAINT session_of_user FOREIGN KEY (user_key) REFERENCES user (user_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Somebody who is signed in with a browser';

-- What a program signs in with.
CREATE TABLE token (
  token_key    BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  token_hash   BINARY(32)      NOT NULL COMMENT 'SHA-256',
  user_key     BIGINT UNSIGNED NOT NULL COMMENT 'whose rights it has, as far as its scope goes',
  name         VARCHAR(64)     NOT NULL COMMENT 'what it is for',
  scope        VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'rights, commas between',
  study_key    BIGINT UNSIGNED NULL COMMENT 'the one study it is for; null: all that its person sees',
  created_at   DATETIME(6)     NOT NULL COMMENT 'UTC',
  expires_at   DATETIME(6)     NOT NULL COMMENT 'UTC',
  first_use_by DATETIME(6)     NULL COMMENT 'UTC; one that was not used until then is over',
  last_used_at DATETIME(6)     NULL COMMENT 'UTC, to the minute',
  PRIMARY KEY (token_key),
  UNIQUE KEY token_by_hash (token_hash),
  KEY token_of_user (user_key),
  KEY token_of_study (study_key),
  CONSTRAINT token_of_user FOREIGN KEY (user_key) REFERENCES user (user_key),
  CONSTRAINT token_of_study FOREIGN KEY (study_key) REFERENCES study (study_key) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'What a program signs in with';

-- People who are given studies together.
CREATE TABLE user_group (
  group_key   BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  name        VARCHAR(64) COLLATE utf8mb4_unicode_520_ci NOT NULL,
  description VARCHAR(255)    NOT NULL DEFAULT '',
  created_at  DATETIME(6)     NOT NULL COMMENT 'UTC',
  PRIMARY KEY (group_key),
  UNIQUE KEY user_group_by_name (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'People who are given studies together';

-- Who belongs to a group.
CREATE TABLE user_group_member (
  group_key BIGINT UNSIGNED NOT NULL,
  user_key  BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (group_key, user_key),
  KEY user_group_member_by_user (user_key),
  CONSTRAINT user_group_member_of_group FOREIGN KEY (group_key) REFERENCES user_group (group_key),
  CONSTRAINT user_group_member_of_user FOREIGN KEY (user_key) REFERENCES user (user_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Who belongs to a group';

-- A study, or all studies of a patient, that somebody or a group was given. Exactly one of study_key and patient_key is
-- there, and exactly one of user_key and group_key.
CREATE TABLE study_grant (
  grant_key   BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  study_key   BIGINT UNSIGNED NULL,
  patient_key BIGINT UNSIGNED NULL COMMENT 'every study filed under this patient, those to come too',
  user_key    BIGINT UNSIGNED NULL,
  group_key   BIGINT UNSIGNED NULL,
  granted_by  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'user.name',
  granted_at  DATETIME(6)     NOT NULL COMMENT 'UTC',
  PRIMARY KEY (grant_key),
  UNIQUE KEY study_grant_of_study_to_user (study_key, user_key),
  UNIQUE KEY study_grant_of_study_to_group (study_key, group_key),
  UNIQUE KEY study_grant_of_patient_to_user (patient_key, user_key),
  UNIQUE KEY study_grant_of_patient_to_group (patient_key, group_key),
  KEY study_grant_by_user (user_key),
  KEY study_grant_by_group (group_key),
  CONSTRAINT study_grant_of_study FOREIGN KEY (study_key) REFERENCES study (study_key),
  CONSTRAINT study_grant_of_patient FOREIGN KEY (patient_key) REFERENCES patient (patient_key),
  CONSTRAINT study_grant_to_user FOREIGN KEY (user_key) REFERENCES user (user_key),
  CONSTRAINT study_grant_to_group FOREIGN KEY (group_key) REFERENCES user_group (group_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A study or a patient that somebody or a group was given';

-- A link that shows one study to whoever holds it.
CREATE TABLE share (
  share_key     BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  link_hash     BINARY(32)      NOT NULL COMMENT 'SHA-256 of what stands in the address',
  study_key     BIGINT UNSIGNED NOT NULL,
  user_key      BIGINT UNSIGNED NOT NULL COMMENT 'who made it',
  password_hash VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'Argon2id, PHC string format; empty: none is asked for',
  may_download  BOOLEAN         NOT NULL,
  note          VARCHAR(255)    NOT NULL DEFAULT '' COMMENT 'for whom it is',
  created_at    DATETIME(6)     NOT NULL COMMENT 'UTC',
  expires_at    DATETIME(6)     NOT NULL COMMENT 'UTC',
  revoked_at    DATETIME(6)     NULL COMMENT 'UTC',
  opened        INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'how often',
  last_opened_at DATETIME(6)    NULL COMMENT 'UTC',
  PRIMARY KEY (share_key),
  UNIQUE KEY share_by_link (link_hash),
  KEY share_of_study (study_key),
  KEY share_of_user (user_key),
  CONSTRAINT share_of_study FOREIGN KEY (study_key) REFERENCES study (study_key),
  CONSTRAINT share_of_user FOREIGN KEY (user_key) REFERENCES user (user_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A link that shows one study to whoever holds it';

-- Somebody who came by such a link.
CREATE TABLE visit (
  visit_key    BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  visit_hash   BINARY(32)      NOT NULL COMMENT 'SHA-256 of what the cookie holds',
  share_key    BIGINT UNSIGNED NOT NULL,
  address      VARCHAR(64)     NOT NULL DEFAULT '' COMMENT 'IP address',
  created_at   DATETIME(6)     NOT NULL COMMENT 'UTC',
  last_used_at DATETIME(6)     NOT NULL COMMENT 'UTC, to the minute',
  PRIMARY KEY (visit_key),
  UNIQUE KEY visit_by_hash (visit_hash),
  KEY visit_of_share (share_key),
  KEY visit_by_last_use (last_used_at),
  CONSTRAINT visit_of_share FOREIGN KEY (share_key) REFERENCES share (share_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Somebody who came by such a link';

-- Who did what, and who saw what: a row for each action, written with it and never changed. Each holds a hash over
-- itself and the row before, so that a row that was changed or taken out shows (filmroom check).
CREATE TABLE audit (
  audit_key            BIGINT UNSIGNED NOT NULL COMMENT 'counts up by one',
  recorded_at          DATETIME(6)     NOT NULL COMMENT 'UTC',
  actor_kind           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'user, program, visitor, peer, terminal or nobody',
  actor                VARCHAR(64)     NOT NULL COMMENT 'user.name, the AE title, the number of the share, or what was typed at a sign-in that failed',
  address              VARCHAR(64)     NOT NULL COMMENT 'IP address, empty at a terminal',
  action               VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  patient_id           VARCHAR(64)     NOT NULL COMMENT '(0010,0020)',
  issuer_of_patient_id VARCHAR(64)     NOT NULL COMMENT '(0010,0021)',
  patient_name         VARCHAR(324) COLLATE utf8mb4_unicode_520_ci NOT NULL COMMENT '(0010,0010)',
  study_instance_uid   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0020,000D)',
  series_instance_uid  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0020,000E)',
  details              VARCHAR(1000)   NOT NULL COMMENT 'what was looked for, changed from what to what, or why it was refused',
  outcome              VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'done or refused',
  hash                 BINARY(32)      NOT NULL COMMENT 'SHA-256, see src/db/audit/chain.rs',
  PRIMARY KEY (audit_key),
  KEY audit_by_time (recorded_at),
  KEY audit_by_actor (actor, audit_key),
  KEY audit_by_patient (patient_id, audit_key),
  KEY audit_by_study (study_instance_uid, audit_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Who did what, and who saw what';

-- Work that outlives a request: studies that are sent to a peer or retrieved from one. A job is claimed with a lease; one
-- whose lease is over is taken up again, so that none is lost with the program.
CREATE TABLE job (
  job_key            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  kind               VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'send or retrieve',
  ae_title           VARCHAR(16)     NOT NULL COMMENT 'peer.ae_title: to whom, or from whom',
  method             VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'how it is retrieved: get or move',
  asked_by           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'user.name',
  state              VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'waiting, running, done, failed or cancelled',
  is_cancelled       BOOLEAN         NOT NULL DEFAULT FALSE COMMENT 'somebody wants it to end',
  attempts           INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'in a row that brought nothing',
  next_attempt_at    DATETIME(6)     NOT NULL COMMENT 'UTC',
  gives_up_at        DATETIME(6)     NOT NULL COMMENT 'UTC; what fails after this is not tried again by itself',
  last_error         VARCHAR(1000)   NOT NULL DEFAULT '' COMMENT 'in words',
  lease              BINARY(16)      NULL COMMENT 'of whoever works on it',
  leased_until       DATETIME(6)     NULL COMMENT 'UTC; one that is running and past this is taken up again',
  studies            INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'that its items are of',
  study_instance_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'the first of them',
  expected           INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'instances, as far as is known',
  completed          INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'instances',
  failed             INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'instances, or items of which no number is known',
  created_at         DATETIME(6)     NOT NULL COMMENT 'UTC',
  started_at         DATETIME(6)     NULL COMMENT 'UTC, first time',
  ended_at           DATETIME(6)     NULL COMMENT 'UTC',
  PRIMARY KEY (job_key),
  KEY job_by_turn (state, next_attempt_at),
  KEY job_by_lease (state, leased_until),
  KEY job_by_asker (asked_by, job_key),
  KEY job_by_end (ended_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Work that outlives a request';

-- What a job is about: an instance to be sent, a study or a series to be retrieved.
CREATE TABLE job_item (
  job_key             BIGINT UNSIGNED NOT NULL,
  item_number         INT UNSIGNED    NOT NULL COMMENT 'from 1',
  study_instance_uid  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0020,000D)',
  series_instance_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT '(0020,000E); empty: all of them',
  sop_instance_uid    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT '(0008,0018); empty: all of them',
  state               VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'waiting' COMMENT 'waiting, done or failed',
  attempts            INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'that ended over it',
  expected            INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'instances, as far as is known',
  completed           INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'instances',
  failed              INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'instances; 1 where no number is known',
  error               VARCHAR(500)    NOT NULL DEFAULT '' COMMENT 'in words',
  PRIMARY KEY (job_key, item_number),
  KEY job_item_by_turn (job_key, state, attempts, item_number),
  CONSTRAINT job_item_of_job FOREIGN KEY (job_key) REFERENCES job (job_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'What a job is about';

-- A question whether instances are safely stored, PS3.4 annex J: a peer's to us, or ours to a peer. Ours are kept, being
-- the proof; a peer's are forgotten a month after they ended.
CREATE TABLE commitment (
  commitment_key  BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  is_ours         BOOLEAN         NOT NULL COMMENT 'we asked the peer; else the peer asked us',
  ae_title        VARCHAR(16)     NOT NULL COMMENT 'of the peer',
  transaction_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0008,1195)',
  repetition      INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'how often the peer had used this Transaction UID before',
  state           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'waiting: to be asked, or to be reported; asked: for the report; ended; given-up',
  attempts        INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'that brought nothing',
  next_attempt_at DATETIME(6)     NOT NULL COMMENT 'UTC; of one that was asked: when it is asked again',
  gives_up_at     DATETIME(6)     NOT NULL COMMENT 'UTC',
  last_error      VARCHAR(1000)   NOT NULL DEFAULT '' COMMENT 'in words',
  created_at      DATETIME(6)     NOT NULL COMMENT 'UTC',
  ended_at        DATETIME(6)     NULL COMMENT 'UTC; of an answer: when it came or was taken',
  job_key         BIGINT UNSIGNED NULL COMMENT 'the job that sent the instances; jobs are forgotten before this is',
  PRIMARY KEY (commitment_key),
  UNIQUE KEY commitment_by_transaction (ae_title, transaction_uid, is_ours, repetition),
  KEY commitment_by_turn (state, next_attempt_at),
  KEY commitment_by_job (job_key),
  KEY commitment_by_end (is_ours, ended_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'A question whether instances are safely stored';

-- An instance such a question is about.
CREATE TABLE commitment_item (
  commitment_key     BIGINT UNSIGNED NOT NULL,
  item_number        INT UNSIGNED    NOT NULL COMMENT 'from 1',
  sop_class_uid      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0008,1150)',
  sop_instance_uid   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT '(0008,1155)',
  study_instance_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT '(0020,000D), where we asked',
  result             SMALLINT UNSIGNED NULL COMMENT '0: committed; else (0008,1197) Failure Reason; null: not known yet',
  PRIMARY KEY (commitment_key, item_number),
  KEY commitment_item_by_study (study_instance_uid, commitment_key),
  CONSTRAINT commitment_item_of_commitment FOREIGN KEY (commitment_key) REFERENCES commitment (commitment_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'An instance such a question is about';

INSERT INTO schema_version (version, upgraded_at) VALUES (22, UTC_TIMESTAMP(6));
