"""Questions with choices are sound in the lessons, and can be answered on the website by keyboard alone."""

import re
from collections import Counter
from dataclasses import dataclass

import pytest

from classroom.convert import student
from classroom.plain import read_glossary
from tests import lessonfile
from tests.lessonfile import ROOT, read
from tests.website import visit

LESSONS = [*lessonfile.LESSONS, *lessonfile.PAGES]
PAGES = [path for path in LESSONS if ":class: predict" in path.read_text(encoding="utf-8")]
QUESTION = re.compile(
    r"^:::::\{admonition\} (?P<title>.+)\n:class: (?P<kind>predict|quiz)\n\n(?P<asked>(?:.+\n)+)\n"
    r"(?P<rest>[\s\S]*?)^:::::$",
    re.M,
)
CHOICE = re.compile(r"\s*^::::\{dropdown\} ([A-F]) · (.+)\n([\s\S]+?)^::::$\s*", re.M)
OVER_PAGES = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
OVER_LESSONS = pytest.mark.parametrize("path", lessonfile.LESSONS, ids=lambda path: path.stem)


@dataclass(frozen=True)
class Question:
    """A question of a lesson: what it asks, and for each letter the choice and what is said about it."""

    title: str
    kind: str
    asked: str
    choices: dict

    @property
    def right(self):
        """The letters of the choices to which the lesson says yes."""
        yes = re.compile(r"\*\*Yes\.?\*\*")
        return [letter for letter, (_, said) in self.choices.items() if yes.match(said)]

    @property
    def is_longest(self):
        """Whether the right choice has more words than any other."""
        words = {letter: len(choice.split()) for letter, (choice, _) in self.choices.items()}
        return all(words[self.right[0]] > words[letter] for letter in words if letter != self.right[0])


def questions(text):
    """Return the questions of a lesson, each with nothing but choices after what it asks."""
    found = []
    for match in QUESTION.finditer(text):
        assert CHOICE.sub("", match["rest"]) == "", f"more than choices below “{match['asked'].strip()}”"
        choices = {letter: (words, said) for letter, words, said in CHOICE.findall(match["rest"])}
        found.append(Question(match["title"], match["kind"], match["asked"].strip(), choices))
    written = len(re.findall(r"^:class: (?:predict|quiz)\b", text, flags=re.M))
    assert len(found) == written, f"{written} questions are begun, {len(found)} can be read"
    return found


def require_sound(question):
    """Raise unless a question has one right choice, and says something on every choice."""
    assert re.search(r"(\?|…)\*?$", question.asked), f"“{question.asked}” does not ask"
    assert len(question.choices) >= 3, question.asked
    assert "".join(question.choices) == "ABCDEF"[: len(question.choices)], question.asked
    assert len(question.right) == 1, f"“{question.asked}” must say **Yes** to one choice"
    assert len({words for words, _ in question.choices.values()}) == len(question.choices), question.asked
    for letter, (_, said) in question.choices.items():
        assert len(said.split()) >= 5, f"explain {letter} of “{question.asked}”"
        # The website says “No.” before them.
        assert letter in question.right or not re.match(r"\W*(yes|no)\b[.,:!]", said, flags=re.I), said


@OVER_PAGES
def test_every_question_has_one_right_choice_and_feedback_on_each(path):
    for question in questions(path.read_text(encoding="utf-8")):
        require_sound(question)


SOUND = """:::::{admonition} Predict first
:class: predict

Which one is right?

::::{dropdown} A · This
It is the other one, as you will see.
::::

::::{dropdown} B · That
**Yes.** It is right for a reason.
::::

::::{dropdown} C · Neither
One of them must be right, and is.
::::
:::::
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("**Yes.**", "Yes."),
        ("It is the other one", "**Yes**, it is the other one"),
        ("It is the other one", "No: it is the other one"),
        ("It is the other one, as you will see.", "Wrong."),
        ("::::{dropdown} C · Neither", ":::{note} Neither"),
        ("B · That", "C · That"),
        ("B · That", "B · This"),
        ("Which one is right?", "One is right."),
        ("Which one is right?", "Two can be had.\n\nWhich one is right?"),
        (":class: predict", ":class: predict\n:open:"),
        ("::::\n:::::", "::::\n\nAnd now for something else.\n:::::"),
    ],
)
def test_each_fault_of_a_question_is_found(old, new):
    require_sound(*questions(SOUND))
    with pytest.raises(AssertionError):
        require_sound(*questions(SOUND.replace(old, new, 1)))


@OVER_LESSONS
def test_lesson_ends_with_questions_on_itself(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "markdown"]
    at = next(i for i, cell in enumerate(cells) if cell.source.startswith("## Check yourself\n"))
    assert cells[at + 1].metadata.get("tags") == ["open-3"], "the question in one's own words comes next"
    assert cells[at + 2].source.startswith("## Key points\n")
    asked = questions(cells[at].source)
    assert 4 <= len(asked) <= 6
    assert {question.kind for question in asked} == {"quiz"}
    assert len({question.title for question in asked}) == len(asked)
    everything = questions(path.read_text(encoding="utf-8"))
    assert len({question.asked for question in everything}) == len(everything)


def require_no_hint(asked, share):
    """Raise if the right choice stands too often at one place, or is too often the longest."""
    places = Counter(question.right[0] for question in asked)
    assert max(places.values()) <= share * len(asked), places
    assert sum(question.is_longest for question in asked) <= share * len(asked)


def test_right_choice_is_not_given_away_by_its_place_or_length():
    everything = []
    for path in PAGES:
        asked = questions(path.read_text(encoding="utf-8"))
        everything += asked
        if quiz := [question for question in asked if question.kind == "quiz"]:
            require_no_hint(quiz, 0.5)
    require_no_hint(everything, 0.45)


@OVER_LESSONS
def test_notebook_of_a_class_folds_every_choice(path):
    glossary = read_glossary((ROOT / "lessons" / "glossary.md").read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8")
    source = "\n".join(cell.source for cell in student(text, glossary).cells)
    folded = re.findall(r"^<summary><u>[A-F] · ", source, flags=re.M)
    assert len(folded) == sum(len(question.choices) for question in questions(text))


# On the website

TRY_ALL = """() => [...document.querySelectorAll("form.quiz-form")].map((form) => {
  const feedback = form.querySelector("[role=status]");
  return [...form.querySelectorAll("[type=radio]")].map((radio) => {
    radio.click();
    const before = feedback.textContent;
    form.requestSubmit();
    return {before, words: radio.labels[0].textContent.trim(), said: feedback.innerText.trim(),
      verdict: feedback.dataset.verdict, seen: feedback.checkVisibility()};
  });
})"""
TOO_WIDE = """() => [...document.querySelectorAll("form.quiz-form, form.quiz-form *")].filter(
  (part) => part.getBoundingClientRect().right > innerWidth
).map((part) => part.textContent)"""
TOO_SMALL = """() => [...document.querySelectorAll(".quiz-choice, .quiz-check")].filter((part) => {
  const {width, height} = part.getBoundingClientRect();
  return Math.min(width, height) < 24;
}).map((part) => part.textContent)"""


@pytest.fixture
def page(chromium, address, request):
    """Yield the page of the lesson on masks, with questions of both kinds."""
    options = {"settle": False} | getattr(request, "param", {})
    page = visit(chromium, address, "lessons/03_masks_and_filters.html", **options)
    yield page
    page.context.close()


def start_before(form):
    """Let the keyboard start just before a question."""
    form.locator("legend").evaluate("(legend) => { legend.tabIndex = -1; legend.focus(); }")


@OVER_PAGES
def test_every_question_can_be_answered_on_its_page(chromium, address, path):
    asked = questions(path.read_text(encoding="utf-8"))
    phone = {"width": 360, "height": 740}
    page = visit(chromium, address, f"lessons/{path.stem}.html", settle=False, viewport=phone)
    page.evaluate("() => window.MathJax?.startup.promise")  # where there are formulae
    answered = page.evaluate(TRY_ALL)
    assert len(answered) == len(asked)
    for question, tried in zip(asked, answered, strict=True):
        assert [each["words"][0] for each in tried] == list(question.choices)
        assert all(each["before"] == "" for each in tried), "feedback belongs to what is chosen"
        assert all(each["seen"] for each in tried)
        for each in tried:
            right = each["words"][0] in question.right
            assert each["verdict"] == ("right" if right else "wrong")
            assert re.match(r"Yes\b" if right else r"No\.\s+\S", each["said"]), each
        assert len({each["said"] for each in tried}) == len(tried)
    assert page.locator("form .math").count() == page.locator("form .math:has(mjx-container)").count()
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(TOO_SMALL) == []
    page.context.close()


def test_wrong_then_right_with_the_keyboard_alone(page):
    form = page.locator("form.quiz-form").first
    question = questions((ROOT / "lessons" / "03_masks_and_filters.md").read_text(encoding="utf-8"))[0]
    assert question.right == ["C"]
    group = form.get_by_role("group", name="What does the difference say?")
    feedback = form.get_by_role("status").element_handle()
    start_before(form)
    page.keyboard.press("Tab")
    assert group.get_by_role("radio", name="A · −2").evaluate("(radio) => radio === document.activeElement")
    page.keyboard.press("Enter")
    assert feedback.inner_text() == "Choose an answer first."
    page.keyboard.press("ArrowDown")
    assert group.get_by_role("radio", name="B · Zero").is_checked()
    assert feedback.inner_text() == "", "to move among the choices is not to answer"
    page.keyboard.press("Tab")
    assert form.get_by_role("button", name="Check").evaluate("(button) => button === document.activeElement")
    page.keyboard.press("Space")
    assert feedback.inner_text().startswith("No. Some programs for photographs stop at zero.")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert feedback.inner_text().startswith("Yes. Below zero the count goes on from the top")
    # A screen reader says what changes in a region that was there before.
    assert feedback.evaluate("(region) => region.isConnected && region.role === 'status'")


@pytest.mark.parametrize("page", [{"settle": True}], indirect=True)
def test_nothing_is_kept_and_nothing_leaves_the_page(page):
    form = page.locator("form.quiz-form").first
    requests, place = len(page.requested), page.url
    kept = page.evaluate("() => JSON.stringify({...localStorage, ...sessionStorage})")
    form.get_by_role("radio").first.check()
    form.get_by_role("button").click()
    assert form.get_by_role("status").inner_text() != ""
    assert (len(page.requested), page.url) == (requests, place)
    assert page.evaluate("() => JSON.stringify({...localStorage, ...sessionStorage})") == kept
    assert page.context.cookies() == []
    page.reload()
    assert page.locator("form.quiz-form :checked").count() == 0
    assert page.locator("form.quiz-form").first.get_by_role("status").inner_text() == ""


def test_question_with_two_right_choices_stays_as_it_is(chromium, address, site):
    path = "lessons/03_masks_and_filters.html"
    text = (site / path).read_text(encoding="utf-8")
    first = '<p class="sd-card-text">So it should, but'
    assert first in text
    spoilt = text.replace(first, '<p class="sd-card-text"><strong>Yes.</strong> So it should, but')
    context = chromium.new_context()
    page = context.new_page()
    page.route(f"**/{path}", lambda route: route.fulfill(body=spoilt, content_type="text/html"))
    page.goto(address + path)
    question = page.locator(".admonition.predict").first
    assert question.locator("details").count() == 4
    assert question.locator("form").count() == 0
    assert page.locator(".admonition.predict").nth(1).locator("form").count() == 1
    context.close()


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_choices_unfold_without_javascript(page):
    asked = questions((ROOT / "lessons" / "03_masks_and_filters.md").read_text(encoding="utf-8"))
    choices = page.locator(".admonition.predict > details, .admonition.quiz > details")
    assert choices.count() == sum(len(question.choices) for question in asked)
    assert page.locator("form.quiz-form").count() == 0
    first = page.locator(".admonition.predict").first
    said = first.get_by_text("an unsigned type has no −2")
    assert not said.is_visible()
    first.get_by_text("A · −2").click()
    assert said.is_visible()
    assert not first.get_by_text("Some programs for photographs").is_visible()
