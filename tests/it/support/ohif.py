"""Writes the study that OHIF is shown: `ohif.py FOLDER`.

A CT series of twelve slices made from pydicom's CT_small.dcm, each moved a little further, a segmentation of a square in
its middle slices, and a report as PDF, all of the patient Sailor^Anna and referred by Smith^John.
"""

import sys
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import (
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    PYDICOM_IMPLEMENTATION_UID,
    SegmentationStorage,
)

STUDY = "1.2.826.0.1.3680043.10.43.1"
SLICES = 12
SEGMENTED = range(4, 8)
FRAME_OF_REFERENCE = f"{STUDY}.9"


def of_the_study(instance, series, number, modality):
    """What all instances of the study have."""
    instance.StudyInstanceUID = STUDY
    instance.SeriesInstanceUID = f"{STUDY}.{series}"
    instance.SOPInstanceUID = f"{STUDY}.{series}.{number}"
    instance.PatientName = "Sailor^Anna"
    instance.PatientID = "OHIF1"
    instance.PatientBirthDate = "19700101"
    instance.PatientSex = "F"
    instance.StudyDate = "20260102"
    instance.StudyTime = "120000"
    instance.AccessionNumber = "A1"
    instance.StudyID = "1"
    instance.StudyDescription = "CT head"
    instance.ReferringPhysicianName = "Smith^John"
    instance.Modality = modality
    instance.SeriesNumber = series
    instance.InstanceNumber = number
    return instance


def made(sop_class):
    """An instance from nothing."""
    instance = Dataset()
    instance.SOPClassUID = sop_class
    instance.SeriesDate = instance.ContentDate = "20260102"
    instance.SeriesTime = instance.ContentTime = "120000"
    instance.Manufacturer = "A test"
    return instance


def write(instance, path):
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    instance.save_as(path, enforce_file_format=True)


def slices():
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    pixels = source.pixel_array
    for number in range(1, SLICES + 1):
        instance = of_the_study(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1, number, "CT")
        instance.SeriesDescription = "Head"
        instance.FrameOfReferenceUID = FRAME_OF_REFERENCE
        instance.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        instance.ImagePositionPatient = [-40, -40, number * 5]
        instance.SliceLocation = number * 5
        instance.SliceThickness = 5
        instance.PixelSpacing = [0.625, 0.625]
        instance.PixelData = np.roll(pixels, 8 * number, axis=1).tobytes()
        yield instance


def item(**attributes):
    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def code(value, scheme, meaning):
    return [item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def segmentation(images):
    """PS3.3 A.51: one segment, a bit a pixel."""
    of = images[0]
    instance = of_the_study(made(SegmentationStorage), 2, 1, "SEG")
    instance.SeriesDescription = "Square"
    instance.ImageType = ["DERIVED", "PRIMARY"]
    instance.FrameOfReferenceUID = FRAME_OF_REFERENCE
    instance.ManufacturerModelName = "A test"
    instance.DeviceSerialNumber = "1"
    instance.SoftwareVersions = "1"
    instance.ContentLabel = "SQUARE"
    instance.ContentDescription = ""
    instance.ContentCreatorName = "A^Test"
    instance.SamplesPerPixel = 1
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.Rows, instance.Columns = of.Rows, of.Columns
    instance.BitsAllocated = instance.BitsStored = 1
    instance.HighBit = instance.PixelRepresentation = 0
    instance.LossyImageCompression = "00"
    instance.SegmentationType = "BINARY"
    instance.NumberOfFrames = len(SEGMENTED)
    instance.SegmentSequence = [
        item(
            SegmentNumber=1,
            SegmentLabel="Square",
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=code("85756007", "SCT", "Tissue"),
            SegmentedPropertyTypeCodeSequence=code("85756007", "SCT", "Tissue"),
            RecommendedDisplayCIELabValue=[34885, 53485, 50171],
        )
    ]
    segmented = [images[number] for number in SEGMENTED]
    instance.ReferencedSeriesSequence = [
        item(
            SeriesInstanceUID=of.SeriesInstanceUID,
            ReferencedInstanceSequence=[
                item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)
                for one in images
            ],
        )
    ]
    instance.DimensionOrganizationSequence = [item(DimensionOrganizationUID=f"{STUDY}.8")]
    instance.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=f"{STUDY}.8",
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=group,
        )
        for pointer, group in [(0x0062000B, 0x0062000A), (0x00200032, 0x00209113)]
    ]
    instance.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[
                item(PixelSpacing=of.PixelSpacing, SliceThickness=5, SpacingBetweenSlices=5)
            ],
            PlaneOrientationSequence=[item(ImageOrientationPatient=of.ImageOrientationPatient)],
        )
    ]
    instance.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(DimensionIndexValues=[1, place])],
            PlanePositionSequence=[item(ImagePositionPatient=one.ImagePositionPatient)],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
            DerivationImageSequence=[
                item(
                    SourceImageSequence=[
                        item(
                            ReferencedSOPClassUID=one.SOPClassUID,
                            ReferencedSOPInstanceUID=one.SOPInstanceUID,
                            PurposeOfReferenceCodeSequence=code(
                                "121322", "DCM", "Source image for image processing operation"
                            ),
                        )
                    ],
                    DerivationCodeSequence=code("113076", "DCM", "Segmentation"),
                )
            ],
        )
        for place, one in enumerate(segmented, 1)
    ]
    square = np.zeros((len(SEGMENTED), of.Rows, of.Columns), dtype=np.uint8)
    square[:, 40:80, 40:80] = 1
    instance.PixelData = pack_bits(square)
    return instance


def report():
    """PS3.3 A.45.1: a page with a word on it."""
    instance = of_the_study(made(EncapsulatedPDFStorage), 3, 1, "DOC")
    instance.SeriesDescription = "Report"
    instance.ConversionType = "WSD"
    instance.BurnedInAnnotation = "YES"
    instance.DocumentTitle = "Report"
    instance.ConceptNameCodeSequence = []
    instance.MIMETypeOfEncapsulatedDocument = "application/pdf"
    content = b"BT /F1 48 Tf 72 700 Td (Nothing found) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    file, places = bytearray(b"%PDF-1.4\n"), []
    for number, one in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % place for place in places)
    file += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    file += b" " * (len(file) % 2)
    instance.EncapsulatedDocument = bytes(file)
    return instance


def main():
    folder = Path(sys.argv[1])
    images = list(slices())
    for number, instance in enumerate([*images, segmentation(images), report()]):
        write(instance, folder / f"{number:02}.dcm")


main()
