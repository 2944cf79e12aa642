"""The users of episodes: a scripted one with a persona, or any chat model that plays it. Neither sees tools or rubric.

A user states the wish, tells a withheld detail when asked, may misunderstand the first question, and may change its mind when all is
done.
"""

from collections.abc import Awaitable, Callable

from k2lib.agents.tasks import Task
from k2lib.llm.protocol import ChatModel

DONE = None  # the user has nothing more to say
User = Callable[[Task, list[dict]], Awaitable[str | None]]
PUZZLED = "Sorry, what do you mean?"
NO_MORE = "I have told you all I know."
MARK = "END"  # what a model that plays a user says when it is content
LONGEST = 2000  # characters of what it says
PROMPT = """You play a user who writes to an assistant. Stay in this role; write only what the user would write, one short message.
Your manner: {manner}.
You have said: {said}
{secret}{later}When the assistant has said that everything is done, or cannot help you, answer {mark} and nothing else."""


def reply(task: Task, messages: list[dict]) -> str | None:
    """The scripted user's answer to the assistant's last message, or None when the conversation is over.

    Any question brings the detail out, as it would from a person; whether it was the right question, the judge decides.
    """
    said = [message["content"] for message in messages if message["role"] == "user"][1:]
    asked = "?" in (messages[-1].get("content") or "")
    detail = withheld(task)
    if asked and detail is not None and detail not in said:
        return PUZZLED if task.persona.misunderstands and PUZZLED not in said else detail
    if asked:
        return DONE if NO_MORE in said else NO_MORE
    if task.afterthought is not None and task.afterthought not in said:
        return task.afterthought
    return DONE


def withheld(task: Task) -> str | None:
    """What the user tells only when asked."""
    return str(task.reference[0][1][task.rubric.must_ask]) if task.rubric.must_ask else None


async def scripted(task: Task, messages: list[dict]) -> str | None:
    return reply(task, messages)


def played_by(model: ChatModel, temperature: float = 0.7) -> User:
    """A user that the model plays. It sees the words of the conversation, and not the calls. ChatError if it cannot be reached."""

    async def user(task: Task, messages: list[dict]) -> str | None:
        heard = [
            (message["role"], message.get("content") or "") for message in messages[1:] if message["role"] != "tool"
        ]
        turns = [
            {"role": "user" if who == "assistant" else "assistant", "content": text} for who, text in heard[1:] if text
        ]
        prompt = [{"role": "system", "content": described(task)}, *turns]
        said = await model.complete(prompt, temperature=temperature, max_tokens=120, seed=task.seed)
        text = str(said.message.get("content") or "").strip()[:LONGEST]
        return DONE if not text or text.strip(".! ") == MARK else text

    return user


def described(task: Task) -> str:
    """The role that a model is to play."""
    manner = (
        f"{task.persona.style}; you misunderstand the first question"
        if task.persona.misunderstands
        else task.persona.style
    )
    detail = withheld(task)
    secret = f"Only if you are asked, you tell that the {task.rubric.must_ask} is {detail}.\n" if detail else ""
    later = f"When it is done, you say: {task.afterthought}\n" if task.afterthought else ""
    return PROMPT.format(manner=manner, said=task.instruction, secret=secret, later=later, mark=MARK)
