"""How turns become one prompt: by the model's own chat template where it takes ours, else by a plain one."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""For base models, which bring no chat template of their own, and where the model's own does not take our turns."""

DATE = "01 Jan 2025"
DATED = "{%- macro strftime_now(format) -%}" + DATE + "{%- endmacro -%}"
"""Before a template that writes today's date into the prompt: the same seed shall give the same trace tomorrow."""

TURNS = (("user", "one plus one?"), ("assistant", "that is two"), ("user", "two plus two?"))
"""What is asked of a template: worked examples as earlier turns, and no system turn."""


def template_of(tokenizer: Any) -> tuple[str, str]:
    """A template that takes earlier turns of both sides, and why it is the plain one, "" for the model's own.

    A template may be missing, refuse such turns, ask for a system turn, or leave an earlier turn out without a word.
    One that asks for today's date gets a fixed one. The tokenizer stays as it is.
    """
    fault = fault_of(tokenizer) if tokenizer.chat_template else "it brings none"
    if fault:
        return ("{{ bos_token }}" if begins_texts(tokenizer) else "") + PLAIN_TEMPLATE, fault
    own: str = tokenizer.get_chat_template()
    return (DATED + own if "strftime_now" in own else own), ""


def begins_texts(tokenizer: Any) -> bool:
    """Whether the tokenizer puts its first token before every text: the model has seen none without."""
    first = getattr(tokenizer, "bos_token_id", None)
    return first is not None and tokenizer("a")["input_ids"][0] == first


def fault_of(tokenizer: Any) -> str:
    turns = [{"role": role, "content": content} for role, content in TURNS]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        return f"its own does not take earlier turns without a system turn: {error}"
    at = 0
    for role, content in TURNS:
        at = text.find(content, at) + len(content)
        if at < len(content):
            return f"its own leaves out an earlier turn of the {role}"
    return ""
