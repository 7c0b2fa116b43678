"""Files of another kind than wanted, recognised by their first bytes."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Literal

from focuscli.errors import InputError

HEAD = 4096
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SHEET = "Save the sheet as CSV UTF-8, then: focus prepare csv FILE.csv --images FOLDER"
_DOWNLOAD = "The download failed or asks for a login: open the address in a browser and fetch the file itself."
_LFS = "Fetch the file itself: git lfs pull"
_MATLAB = "Save it again in MATLAB with: save('FILE.mat', '-v7')"
_OFFICIAL = "Official downloads have commands of their own: focus prepare --help"
_PICKLE = "Pickles of PAR code are read by: focus prepare pickle FILE --images FOLDER"
_COLUMNS = "Write a CSV file: the columns image, ATTRIBUTE, ATTRIBUTE, ... and one row per image."
_NAME = "Name the label file; the folder of the images belongs to --images."
_SIGNATURES = (
    (rb"PK\x03\x04.{0,4000}?\bword/", "a Word document", _COLUMNS),
    (rb"PK\x03\x04.{0,4000}?(\[Content_Types\]\.xml|\bxl/|opendocument\.spreadsheet|\.iwa)", "a workbook", _SHEET),
    (rb"PK\x03\x04.{26}[^/]*?\.npy", "an .npz file of NumPy", _COLUMNS),
    (rb"PK\x03\x04.{26}[^/]*/(data\.pkl|\.format_version)", "a file of PyTorch", _COLUMNS),
    (rb"PK[\x03\x05]", "a ZIP archive", "Unpack it first: unzip FILE"),
    (rb"\xd0\xcf\x11\xe0", "an old Excel workbook", _SHEET),
    (rb"MATLAB 7\.3", "a MATLAB file of version 7.3 (HDF5)", _MATLAB),
    (rb"\x89HDF", "an HDF5 file", _MATLAB),
    (rb"MATLAB 5\.0", "a MATLAB file of version 5", _OFFICIAL),
    (rb"\x80[\x02-\x05]|\(?[dl]p\d+\n|[}\]]q\0|\(?d?c(copy_reg|easydict|numpy)", "a pickle", _PICKLE),
    (rb"\x93NUMPY", "a NumPy array", _COLUMNS),
    (rb"PAR1|ARROW1|FEA1", "a Parquet or Arrow file", _COLUMNS),
    (rb"SQLite format 3", "an SQLite database", _COLUMNS),
    (rb"\x1f\x8b", "a gzip archive", "Unpack it first: gunzip FILE"),
    (rb"Rar!|7z\xbc\xaf|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar", "a compressed archive", "Unpack it first."),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself", _LFS),
    (rb"%PDF", "a PDF document", _NAME),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM.{4}\0{4}|II\*\0|MM\0\*", "an image", _NAME),
    (rb"\s*<(!doctype html|html|head|body)|\s*<\?xml.{0,400}<html", "a web page", _DOWNLOAD),
    (rb"\s*<(\?xml|!doctype|[a-z]+[ >])", "an XML file", _COLUMNS),
    (rb"\s*(\{\s*[\"}]|\[\s*([\[{\"\d\-\]]|true\b|false\b|null\b))", "a JSON file", _COLUMNS),
    # On every line a path, a tab, and numbers with commas.
    (rb"([^\t\r\n,]+\t-?\d+(,-?\d+)+[ \t]*(\r?\n|\Z)+)+([^\t\r\n,]+(\t[-\d,]*)?)?\Z", "a PaddleClas list", _COLUMNS),
)
_WANTED = {
    "table": ("a table of labels", ""),
    "mat": ("a MATLAB file of version 5", "Fetch the original MATLAB file again (version 5 to 7.2)."),
    "image": ("an image", "Replace or remove that file."),
    "pickle": ("a pickle", "Name the pickle, such as the dataset_all.pkl of Rethinking_of_PAR."),
}


def check_kind(path: Path, wanted: Literal["table", "mat", "pickle", "image"]) -> None:
    """Refuse a file whose content shows that it is something else than a table, a MATLAB 5 file, a pickle or an image.

    Raises:
        InputError: says what it is. Nothing is said of a file that cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        return
    if encoding := next((name for mark, name in BOMS if head.startswith(mark)), None):
        head = head.decode(encoding, "ignore").encode()
    right, again = _WANTED[wanted]
    found = ((kind, hint) for mark, kind, hint in _SIGNATURES if re.match(mark, head, re.DOTALL | re.IGNORECASE))
    kind, hint = next(found, (right, ""))
    if kind != right:
        shared = wanted == "table" or hint in (_DOWNLOAD, _LFS, _MATLAB) or hint.startswith("Unpack")
        raise InputError(f"{path} is {kind}, not {right}.", hint if shared else again)
