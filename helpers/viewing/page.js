// Makes a viewer of a web page live, without a kernel: the still picture gives way once the planes are drawn.

(window.slicewise ??= {}).enliven = async (place, state, module) => {
  // What anywidget's model is to a module.
  const reactions = {};
  const model = {
    get: (name) => state[name],
    set(name, value) {
      if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
      state[name] = value;
      for (const react of reactions[`change:${name}`] ?? []) react();
    },
    save_changes() {},
    send() {},
    on: (name, react) => (reactions[name] ??= []).push(react),
    off: (name, react) => (reactions[name] = (reactions[name] ?? []).filter((other) => other !== react)),
  };
  const still = place.querySelector(".slicewise-still");
  const picture = still.querySelector("img");
  const live = document.createElement("div");
  still.replaceWith(live);
  const { drawn } = module.render({ model, el: live });
  // The still picture stands where the planes will be, or keeps the size of an explorer's picture:
  // so that nothing moves when they come.
  const stage = live.querySelector(".slicewise-stage");
  if (stage) {
    picture.classList.add("slicewise-waiting");
    stage.append(picture);
  }
  for (const name of ["width", "height"].filter((name) => picture.hasAttribute(name)))
    live.querySelector(".slicewise-picture")?.setAttribute(name, picture.getAttribute(name));
  try {
    await drawn;
    picture.remove();
  } catch (error) {
    picture.classList.remove("slicewise-waiting");
    still.append(picture);
    live.replaceWith(still);
    throw error;
  }
  return model;
};
