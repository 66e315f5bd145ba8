// Controls beside a picture that follows them: drawn by the kernel, or on a web page chosen from those made before.

export default {
  render({ model, el }) {
    const explorer = new Explorer(model, el);
    return () => explorer.close();
  },
};

const WIDE = 640; // CSS pixels, from which a picture is likely to have several parts

let count = Math.floor(Math.random() * 1e9); // for ids, which are to be unique in the page

/** Make an element with attributes and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Return the name of a control as it is read. */
const spoken = (name) => name.replaceAll("_", " ");

/** Return words as a list in a sentence. */
const listed = (words) => new Intl.ListFormat("en-GB").format(words);

/** Keep single keys from JupyterLab, where "d d" would delete the cell; Shift+Enter may run it. */
function keepFromNotebook(event) {
  const shortcut =
    event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
  if (!shortcut) event.stopPropagation();
}

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.pictures = model.get("pictures"); // only on a web page
    this.image = make("img", { class: "slicewise-picture" });
    this.image.addEventListener("load", () =>
      this.image.classList.toggle("slicewise-wide", this.image.naturalWidth >= WIDE),
    );
    this.text = make("p", { class: "slicewise-says", "aria-live": "polite" });
    this.controls = model.get("_controls").map((control) => this.build(control));
    const title = model.get("_title");
    const parts = [
      ...(title ? [make("div", { class: "slicewise-title" }, title)] : []),
      make("div", { class: "slicewise-controls" }, ...this.controls.map(({ row }) => row)),
      make("div", { class: "slicewise-scroll" }, this.image),
      this.text,
    ];
    const kept = model.get("kept"); // only on a web page
    const alone = kept ? this.controls.map(({ name }) => name).filter((name) => !kept.includes(name)) : [];
    if (alone.length > 1) {
      const note = `On this page only one of ${listed(alone.map(spoken))} can be away from its start; in JupyterLab all can.`;
      parts.push(make("p", { class: "slicewise-note" }, note));
    }
    const name = title ? { "aria-label": title } : {};
    const root = make(
      "div",
      { class: "slicewise-viewer slicewise-explorer", role: "group", ...name },
      ...parts,
    );
    root.addEventListener("keydown", keepFromNotebook);
    el.replaceChildren(root);
    this.listeners = ["_picture", "text", "values"].map((name) => [`change:${name}`, () => this.show()]);
    for (const [name, react] of this.listeners) model.on(name, react);
    this.show();
  }

  close() {
    for (const [name, react] of this.listeners) this.model.off(name, react);
    URL.revokeObjectURL(this.address);
  }

  /** Build one labelled native control. On a web page a slider has the positions whose pictures are there. */
  build(control) {
    const id = `slicewise-${count++}`;
    const label = make("label", { for: id }, spoken(control.name));
    const { kind, positions } = control;
    let input;
    let read;
    let write;
    if (kind === "slider") {
      const range = positions
        ? { min: 0, max: positions.length - 1, step: 1 }
        : { min: control.low, max: control.high, step: control.step };
      input = make("input", { id, type: "range", ...range });
      const nearest = (value) =>
        positions.reduce(
          (best, other, n) => (Math.abs(other - value) < Math.abs(positions[best] - value) ? n : best),
          0,
        );
      read = () => (positions ? positions[input.valueAsNumber] : input.valueAsNumber);
      write = (value) => (input.value = positions ? nearest(value) : value);
    } else if (kind === "list") {
      input = make("select", { id }, ...control.choices.map((choice) => new Option(choice)));
      read = () => control.choices[input.selectedIndex];
      write = (value) => (input.selectedIndex = control.choices.indexOf(value));
    } else {
      input = make("input", { id, type: "checkbox" });
      read = () => input.checked;
      write = (value) => (input.checked = value);
    }
    const output = make("output", { for: id });
    input.addEventListener("input", () => this.turn(control, read()));
    const show = (value) => {
      write(value);
      if (kind !== "slider") return;
      output.value = String(Number(value.toPrecision(6)));
      input.setAttribute("aria-valuetext", output.value);
    };
    return {
      name: control.name,
      start: control.start,
      show,
      row: make("div", { class: "slicewise-control" }, label, input, output),
    };
  }

  /** Take a new value. Where pictures of combinations are missing, other controls go back to their start. */
  turn({ name }, value) {
    const values = { ...this.model.get("values"), [name]: value };
    const kept = this.model.get("kept");
    if (kept && !kept.includes(name))
      for (const other of this.controls)
        if (other.name !== name && !kept.includes(other.name)) values[other.name] = other.start;
    this.model.set("values", values);
    this.model.save_changes();
  }

  show() {
    const values = this.model.get("values");
    for (const { name, show } of this.controls) show(values[name]);
    let text = this.model.get("text");
    if (this.pictures) {
      const [picture, words] = this.pictures[this.key(values)] ?? [null, text];
      if (picture) this.image.src = `data:image/png;base64,${picture}`;
      text = words;
    } else if (this.model.get("_picture") !== this.shown) {
      this.shown = this.model.get("_picture");
      URL.revokeObjectURL(this.address);
      this.address = URL.createObjectURL(new Blob([this.shown], { type: "image/png" }));
      this.image.src = this.address;
    }
    this.image.alt = text;
    if (this.text.textContent !== text) this.say(text);
  }

  /** Say what is seen. The longest text so far keeps its room, so that the page below stays where it is. */
  say(text) {
    const { style, clientWidth } = this.text;
    if (clientWidth !== this.room) style.minHeight = "";
    this.room = clientWidth;
    this.text.textContent = text;
    style.minHeight = `${this.text.offsetHeight}px`;
  }

  /** Return the name of a combination's picture: the places of its values among the positions. */
  key(values) {
    const place = ({ name, positions, choices }) => (positions ?? choices).indexOf(values[name]);
    return this.model.get("_controls").map(place).join(" ");
  }
}
