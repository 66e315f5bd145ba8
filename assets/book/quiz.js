/* Turn each question of a page into a quiz: choose, check, and read what there is to say about the choice.

A question is an admonition of the class `predict` or `quiz`: a paragraph that asks, and dropdowns, each with a
choice as its title and what there is to say about it as its body. The body of the right one begins with a bold
“Yes”. Without this script the dropdowns stay, and unfold one by one. Nothing is stored or sent. */

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/* Return the choices of a question: the words of each, what to say about it, and whether it is right. */
function choicesOf(question) {
  return [...question.querySelectorAll(":scope > details")].map((dropdown) => {
    const words = dropdown.querySelector(".sd-summary-text");
    const said = dropdown.querySelector(".sd-summary-content");
    const first = said.querySelector("p").firstChild;
    return { words, said, right: first.nodeName === "STRONG" && first.textContent.startsWith("Yes") };
  });
}

function makeQuiz(question, number) {
  const asked = question.querySelector(":scope > p:not(.admonition-title)");
  const choices = choicesOf(question);
  if (choices.filter((choice) => choice.right).length !== 1) return;

  const name = `quiz-${number}`;
  const legend = element("legend", {}, ...asked.childNodes);
  const labels = choices.map(({ words }, index) => {
    const button = element("input", { type: "radio", name, value: index });
    return element("label", { className: "quiz-choice" }, button, element("span", {}, ...words.childNodes));
  });
  const check = element("button", { className: "quiz-check", textContent: "Check" });
  // What changes in it is read aloud, as a whole and when the reader pauses.
  const feedback = element("div", { className: "quiz-feedback", role: "status" });
  // What is not shown waits in the page, not in memory: formulae are set only where they can be found.
  const waiting = element("div", { hidden: true });
  for (const { said, right } of choices) {
    said.className = "";
    if (!right) said.querySelector("p").prepend(element("strong", { textContent: "No." }), " ");
    waiting.append(said);
  }

  const form = element("form", { className: "quiz-form", autocomplete: "off" });
  form.append(element("fieldset", {}, legend, ...labels), check, feedback, waiting);
  const clear = () => {
    waiting.append(...feedback.children);
    feedback.replaceChildren();
    delete feedback.dataset.verdict;
  };
  form.addEventListener("change", clear);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clear();
    const chosen = form.elements[name].value;
    if (chosen === "") {
      feedback.append("Choose an answer first.");
    } else {
      feedback.dataset.verdict = choices[chosen].right ? "right" : "wrong";
      feedback.append(choices[chosen].said);
    }
  });

  asked.remove();
  for (const dropdown of question.querySelectorAll(":scope > details")) dropdown.remove();
  question.append(form);
}

document.querySelectorAll(".admonition.predict, .admonition.quiz").forEach(makeQuiz);
