"""A causal language model of the Transformers library behind the few operations that the stages need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers.cache_utils import DynamicCache

from inference.core.cache import PrefixCache
from inference.core.chat import template_of
from inference.core.decode import Row, Sampling, decode
from inference.core.devices import check_device
from inference.core.guide import AnswerGuide
from inference.core.limits import check_context, install_recording
from inference.core.prepacked import prepack
from inference.core.provenance import weights_digest
from inference.core.records import Token
from inference.core.rollouts import MAX_ROWS, Place, Start, Wanted, roll, row_numbers
from inference.core.weights import check_complete, check_source, commit_of, on_the_hub

Message = dict[str, str]  # {"role": "user", "content": "..."}

LOADING_ERRORS = (OSError, ValueError, RuntimeError, ImportError, AssertionError, SafetensorError)
"""What libraries raise for a model that is missing, does not fit into memory, or has no code or device to run on."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LanguageModel:
    """`hidden` is the width H of the hidden states, `layers` the number of decoder layers L, `heads` that of
    the attention heads of each.

    `template` makes the prompt; `plain` says why it is plain text and not the model's own, "" where it is that.
    `commit` is that of the hub from which the model was loaded, "" for other sources; `weights` is a digest of its
    weights.

    Takes `module` over: it freezes the weights, and replaces the attention and, on a CPU in float32, linear layers.
    Safe to use from several threads. Raises AttentionError for a model whose attention cannot be recorded.
    """

    def __init__(self, module: Any, tokenizer: Any, name: str, revision: str = "") -> None:
        self.module = module.eval().requires_grad_(False)
        self.weights = weights_digest(module)
        install_recording(module)
        prepack(module)
        self.tokenizer = tokenizer
        self.template, self.plain = template_of(tokenizer)
        self.commit = ""
        self.name = name
        self.revision = revision
        self.hidden: int = module.config.get_text_config().hidden_size
        self.layers: int = module.config.get_text_config().num_hidden_layers
        self.heads: int = module.config.get_text_config().num_attention_heads
        self.end_ids = end_ids(module, tokenizer)
        self._prefixes: dict[tuple[int, ...], PrefixCache] = {}

    @classmethod
    def load(
        cls,
        source: str | Path,
        revision: str = "",
        dtype: str = "float32",
        device: str = "cpu",
        threads: int = 0,
        name: str = "",
    ) -> LanguageModel:
        """Load safetensors from a folder or the hub; code that a model brings along is never run.

        `revision` is a branch, tag or commit of the hub, by default "main"; a commit pins the model. `threads` above
        0 sets torch's threads for the whole process. `name` is what the model is called in stored results; by default
        the folder's own name or the hub name. Raises ValueError for an unknown dtype, a device that is not here, a
        GGUF that was not converted (see weights.py) or the revision of a folder, OSError where weights are missing.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}; allowed are {', '.join(DTYPES)}")
        check_device(device)
        check_source(source, revision)
        if threads > 0:
            torch.set_num_threads(threads)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        where: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
        with on_the_hub(source, where["revision"]):
            tokenizer = AutoTokenizer.from_pretrained(source, **where)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source, dtype=DTYPES[dtype], use_safetensors=True, output_loading_info=True, **where
            )
        module, found = loaded
        check_complete(source, found)
        known_as = name or (Path(source).name if Path(source).is_dir() else str(source))
        model = cls(module.to(device), tokenizer, known_as, revision)
        model.commit = commit_of(source, where["revision"])
        return model

    @property
    def device(self) -> str:
        return str(self.module.device)

    @property
    def dtype_name(self) -> str:
        return str(self.module.dtype).removeprefix("torch.")

    def encode_chat(self, messages: Sequence[Message]) -> tuple[str, tuple[int, ...]]:
        """The prompt that asks for the assistant's next turn, as text and as token ids."""
        text = self.tokenizer.apply_chat_template(
            list(messages), chat_template=self.template, tokenize=False, add_generation_prompt=True
        )
        return text, self.encode(text)

    def prefix(self, ids: tuple[int, ...]) -> PrefixCache:
        """Keys and values of `ids`, computed once and kept: for a beginning that many prompts share.

        Texts then depend on the prompt alone, and not on what was asked before it.
        """
        known = self._prefixes.get(ids)
        if known is None:
            cache = DynamicCache(config=self.module.config)
            self.forward(ids, past_key_values=cache, use_cache=True)
            known = self._prefixes[ids] = PrefixCache(ids, cache)
        return known

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each token, so that the pieces joined are `decode(ids)`.

        A character of several tokens belongs to the last of them; the others have no text.
        """
        pieces, done = [], ""
        for end in range(1, len(ids) + 1):
            text = self.decode(ids[:end])
            whole = text if end == len(ids) else text.rstrip("\ufffd")
            pieces.append(whole[len(done) :])
            done = whole if len(whole) > len(done) else done
        return pieces

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        rows: int = 1,
        stop: Callable[[str], bool] = lambda text: False,
        options: Sequence[str] = (),
        prefix: PrefixCache | None = None,
        tick: Callable[[float], None] = lambda share: None,
    ) -> list[tuple[Token, ...]]:
        """`rows` continuations of `ids`, each until its turn ends, `stop(text)` holds or it is long enough.

        Neither the end-of-turn token nor white space after the last word is returned. With `options`, an answer line
        can only say one of them. `prefix` saves recomputing
        what it shares with `ids`. `tick` gets the share done and may raise to stop the work. Raises ContextError when
        the text could outgrow the model's context, NumbersError for scores that are not numbers.
        """
        check_context(self.module, len(ids), sampling.max_new_tokens)
        made = decode(
            self.module,
            ids,
            rows=rows,
            sampling=sampling,
            finished=self.finished(stop),
            guide=self.guide(options),
            prefix=prefix,
            tick=tick,
        )
        return [self.tokens(row) for row in made]

    def generate_many(
        self,
        starts: Sequence[Start],
        *,
        rows: Wanted = 1,
        stop: Callable[[str], bool] = lambda text: False,
        options: Sequence[str] = (),
        prefix: PrefixCache | None = None,
        max_rows: int = MAX_ROWS,
        tick: Callable[[float], None] = lambda share: None,
        done: Callable[[int, int, tuple[Token, ...]], None] = lambda start, row, tokens: None,
        whole: bool = False,
    ) -> list[list[tuple[Token, ...]]]:
        """For each start what `generate` gives, up to rounding; all of them in one batch where `prefix` holds them.

        `rows` is how many of each start, or a list of row numbers for each. At most `max_rows` are written at a time;
        `done(start, row, tokens)` gets each as soon as its batch is written. `whole` rows have all tokens that were
        written: white space at their end, and the end-of-turn token with no text. Raises RolloutMemoryError when not
        even one row fits into memory, ContextError and NumbersError as `generate` does, ValueError for starts that
        differ in temperature or top_p.
        """
        for start in starts:
            check_context(self.module, len(start.ids), start.sampling.max_new_tokens)
        texts: dict[Place, tuple[Token, ...]] = {}

        def told(place: Place, row: Row) -> None:
            texts[place] = self.whole(row) if whole else self.tokens(row)
            done(*place, texts[place])

        roll(
            self.module,
            starts,
            rows=rows,
            finished=self.finished(stop),
            guide=self.guide(options),
            prefix=prefix,
            max_rows=max_rows,
            tick=tick,
            done=told,
        )
        wanted = row_numbers(starts, rows)
        return [[texts[start, row] for row in numbers] for start, numbers in enumerate(wanted)]

    def finished(self, stop: Callable[[str], bool]) -> Callable[[Sequence[int]], bool]:
        return lambda new: new[-1] in self.end_ids or stop(self.decode(new))

    def guide(self, options: Sequence[str]) -> AnswerGuide:
        return AnswerGuide([self.encode(f" {option}") for option in options], self.end_ids, self.decode)

    def tokens(self, row: Row) -> tuple[Token, ...]:
        """Up to the last word of a row."""
        whole = self.whole(row)
        count = max((index + 1 for index, token in enumerate(whole) if token.text.strip()), default=0)
        last = [replace(token, text=token.text.rstrip()) for token in whole[:count][-1:]]
        return (*whole[: max(0, count - 1)], *last)

    def whole(self, row: Row) -> tuple[Token, ...]:
        """All of a row. The end-of-turn token has no text."""
        ended = row.ids[-1:] and row.ids[-1] in self.end_ids
        pieces = [*self.pieces(row.ids[:-1]), ""] if ended else self.pieces(row.ids)
        return tuple(Token(*column) for column in zip(row.ids, pieces, row.logprobs, row.entropies, strict=True))

    @torch.no_grad()
    def forward(self, ids: Sequence[int] | Tensor, mask: Tensor | None = None, **options: Any) -> Any:
        """One pass through the decoder, without the head that predicts tokens.

        ids: T token ids, or Tensor [B, T] with `mask` [B, T] (1 where there is a token).
        """
        rows = ids if isinstance(ids, Tensor) else torch.tensor([list(ids)])
        mask = mask.to(self.module.device) if mask is not None else None
        decoder = self.module.get_decoder()
        return decoder(input_ids=rows.to(self.module.device), attention_mask=mask, **options)


def end_ids(module: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a turn, as the model's generation settings and its tokenizer say."""
    configured = getattr(module, "generation_config", None)
    ends = configured.eos_token_id if configured else None
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(end for end in [*listed, tokenizer.eos_token_id] if end is not None)
