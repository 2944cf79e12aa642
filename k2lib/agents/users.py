"""The scripted user: states the wish once, tells a withheld detail when asked, and never sees tools or rubric."""

from k2lib.agents.tasks import Task

DONE = None  # the user has nothing more to say


def reply(task: Task, messages: list[dict]) -> str | None:
    """The user's answer to the assistant's last message, or None when the conversation is over.

    Any question brings the detail out, as it would from a person; whether it was the right question, the score decides.
    """
    asked = "?" in (messages[-1].get("content") or "")
    told = sum(message["role"] == "user" for message in messages) > 1
    if asked and task.rubric.must_ask and not told:
        return f"{task.reference[0][1][task.rubric.must_ask]}"
    return "I have told you all I know." if asked and not told else DONE
