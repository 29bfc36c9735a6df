"""What training asks, and how often."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mix:
    """How often what is asked; the kinds' weights need not add up to one."""

    guided: float = 0.40
    find: float = 0.26
    task: float = 0.0  # by the phrasings of a task that is not asked with "find"
    task_foreign: float = 0.3  # of these: in the words of tasks that are not trained, if there are any
    task_guided: float = 0.4  # of those that need no image: the phrase alone, as guided calls ask it
    task_beside: float = 0.0  # of the rest of those: asked with an image in view, which they do not need
    dressed: float = 0.4  # of what is asked without the image: "a red bus", "a small bus"
    everything: float = 0.10
    caption: float = 0.05
    count: float = 0.03
    yes_no: float = 0.03
    question: float = 0.13
    refer: float = 0.0  # one thing among others: "outline the red apple"
    chained: float = 0.0  # a question and an order: "how many cups are there? box them"
    blind: float = 0.1  # of the plain questions: asked without the image
    other_words: float = 0.0  # of the plain questions: with words of others in place of their own
    turns: float = 0.0  # of the conversations: a second turn of the one before
    # find and guided: what a name is drawn from
    present: float = 0.42
    absent: float = 0.32  # a category that is not in the picture
    unknown: float = 0.13  # a real noun that is none of the categories
    invented: float = 0.13  # a word that does not exist
    likely: float = 0.5  # of the absent: one that often stands beside what is there
    canonical: float = 0.6  # the category's own name instead of a synonym
    union: float = 0.05  # "animals" instead of one category
    foreign: float = 0.015  # "Hund"
    unlabelled: float = 0.0  # of the names in requests: anything, which is said back; nobody judges what is found of it
    coloured: float = 0.25  # "red bus", where the captions say so of the only one
    coloured_absent: float = 0.03  # "red bus" where there is none
    find_sizes: tuple[float, ...] = (0.26, 0.27, 0.21, 0.14, 0.08, 0.04)  # of one to six names
    # guided alone
    guided_canonical: float = 0.72
    guided_plural: float = 0.15
    guided_other: float = 0.3  # of the phrases: asked of other tasks than those that find, if there are any
    guided_present: int = 6  # at most so many categories that are there
    guided_refer: int = 0  # at most so many phrases for one thing among others
    guided_unknown: float = 0.18  # of the rest: nouns and inventions, half each
    everything_max: int = 20  # names of one answer
    everything_more: int = 0  # so many likely names that are not there stand behind them: the decoder decides
