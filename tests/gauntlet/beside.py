"""Lets the programs of this folder use those of tests/differential: the reader of layouts, the kinds of damage, the runner.

Import it first.
"""
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "differential"))
