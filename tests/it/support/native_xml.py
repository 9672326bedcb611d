"""Whether data sets in the Native DICOM Model (PS3.19 A.1) hold what they hold in the DICOM JSON Model.

    native_xml.py XML JSON...   pairs of an XML document and the object it should be; prints one JSON object: how many
                                attributes were compared, how many of them are told by a private creator, and which
                                differ

The XML is read here by Python's own parser and by this reading of the standard, which knows nothing of ours.
"""

import json
import sys
import xml.etree.ElementTree as ElementTree

MODEL = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
COMPONENTS = [MODEL + name for name in ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")]


def held(text):
    """As XML 1.0 can hold it."""
    return "".join(c if c in "\t\n\r" or " " <= c < "\ufffe" or c > "\uffff" else "\ufffd" for c in text)


def name_of(element):
    groups = {}
    for group in GROUPS:
        for found in element.findall(MODEL + group):
            tags = [component.tag for component in found]
            assert tags == COMPONENTS[: len(tags)], tags
            groups[group] = "^".join(component.text or "" for component in found)
    return groups or None


def attribute(element, counted):
    vr = element.get("vr")
    made = {"vr": vr}
    children = list(element)
    numbers = [child.get("number") for child in children if child.get("number")]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)], numbers
    for child in children:
        if child.tag == MODEL + "Value":
            made.setdefault("Value", []).append(child.text)
        elif child.tag == MODEL + "PersonName":
            made.setdefault("Value", []).append(name_of(child))
        elif child.tag == MODEL + "Item":
            made.setdefault("Value", []).append(data_set(child, counted))
        elif child.tag == MODEL + "InlineBinary":
            made["InlineBinary"] = child.text
        elif child.tag == MODEL + "BulkData":
            made["BulkDataURI"] = child.get("uri")
        else:
            raise ValueError(child.tag)
    return made


def data_set(element, counted):
    blocks = {}
    for child in element:
        tag, values = child.get("tag"), [value.text for value in child.findall(MODEL + "Value")]
        if int(tag[:4], 16) % 2 and tag[4:6] == "00" and not child.get("privateCreator") and len(values) == 1:
            blocks.setdefault((tag[:4], values[0]), tag[6:])
    made = {}
    for child in element:
        assert child.tag == MODEL + "DicomAttribute", child.tag
        tag, creator = child.get("tag"), child.get("privateCreator")
        if creator:
            counted["private"] += 1
            if tag[4:6] == "00":
                tag = tag[:4] + blocks[tag[:4], creator] + tag[6:]
        assert tag not in made, tag
        counted["compared"] += 1
        made[tag] = attribute(child, counted)
    return made


def same(ours, theirs):
    """`theirs` is text, of whatever the JSON has."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, (int, float)):
        return ours == float(theirs)
    return (held(ours) if ours else None) == theirs


def main(files):
    answer = {"compared": 0, "private": 0, "differences": []}
    for document, text in zip(files[::2], files[1::2]):
        root = ElementTree.parse(document).getroot()
        assert root.tag == MODEL + "NativeDicomModel", root.tag
        with open(text, encoding="utf-8") as file:
            ours = json.load(file)
        theirs = data_set(root, answer)
        for tag in sorted(ours.keys() | theirs.keys()):
            if tag not in ours or tag not in theirs or not same(ours[tag], theirs[tag]):
                found = f"{tag}: {str(theirs.get(tag))[:200]} instead of {str(ours.get(tag))[:200]}"
                answer["differences"].append(found)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
