//! data_set
