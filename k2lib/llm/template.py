"""What lets transformers and servers chat with our checkpoints: K2's template as they read it, and which ids end a turn.

The same template as `k2lib.llm.chat`, in Jinja, to which a test compares it. A server renders first and tokenizes
afterwards, so there text that spells a control token becomes one: `chat.encode` is the safe way.
"""

import json
from pathlib import Path

from k2lib.corpus.tokenizer import CONTROL, Tokenizer
from k2lib.llm.chat import DEFAULT_SYSTEM, END

TEMPLATE = """{%- macro text(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content -%}
{%- for part in content -%}
{%- if part is string -%}{{ part }}
{%- elif part.type == 'text' -%}{{ part.text }}
{%- else -%}{{ raise_exception('this model reads text only') }}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
<|im_system|>tool_declare<|im_middle|>{{ tools | tojson(separators=(',', ':')) }}<|im_end|>
{%- endif -%}
{%- if not messages or messages[0].role not in ('system', 'developer') -%}
<|im_system|>system<|im_middle|>DEFAULT_SYSTEM<|im_end|>
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}<|im_user|>
{%- elif message.role == 'assistant' -%}<|im_assistant|>
{%- elif message.role in ('system', 'developer', 'tool') -%}<|im_system|>
{%- else -%}{{ raise_exception('unknown role ' ~ message.role) }}{%- endif -%}
{{ message.name or message.role }}<|im_middle|>
{%- if message.role == 'tool' -%}{{ '## Return of ' ~ message.tool_call_id ~ '\\n' }}{%- endif -%}
{{ text(message.content) }}
{%- if message.role == 'assistant' and message.tool_calls -%}
<|tool_calls_section_begin|>
{%- for call in message.tool_calls -%}
<|tool_call_begin|>{{ call.id }}<|tool_call_argument_begin|>
{%- if call.function.arguments is string -%}{{ call.function.arguments }}
{%- else -%}{{ call.function.arguments | tojson }}{%- endif -%}
<|tool_call_end|>
{%- endfor -%}
<|tool_calls_section_end|>
{%- endif -%}
<|im_end|>
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}
""".replace("DEFAULT_SYSTEM", DEFAULT_SYSTEM)


def save(directory: Path, tokenizer: Tokenizer, longest: int) -> None:
    """Writes the files beside a checkpoint that has its tokenizer already; `longest` is the model's number of positions."""
    special = {"bos_token": "[BOS]", "eos_token": END, "pad_token": "[PAD]"}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special,
        "additional_special_tokens": [name for name in CONTROL if name not in special.values()],
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
    }
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": [tokenizer.encode_control(END), tokenizer.eos_id],  # either ends a turn
        "pad_token_id": tokenizer.pad_id,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    (directory / "generation_config.json").write_text(json.dumps(ids, indent=1), encoding="utf-8")
    (directory / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
