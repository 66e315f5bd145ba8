// Makes the viewers of a page live, each when it comes near the part of the page that is seen.
//
// Their data lie in the folder `_viewers`. Where the page was opened from a folder a script may read no file;
// there each comes as a script of its own, which calls `slicewise.keep`.

(() => {
  const root = new URL(`${document.documentElement.dataset.content_root ?? ""}_viewers/`, document.baseURI);
  const served = location.protocol !== "file:";
  const kept = new Map();
  const promised = new Map();

  window.slicewise = { keep: (name, text) => kept.set(name, text) };

  const once = (name, load) => {
    if (!promised.has(name)) promised.set(name, load());
    return promised.get(name);
  };

  /** Promise the text that a script hands over. */
  const textOf = (name) =>
    once(name, async () => {
      const script = document.createElement("script");
      script.src = new URL(`${name}.js`, root);
      await new Promise((done, fail) => {
        script.onload = done;
        script.onerror = () => fail(new Error(`${script.src} cannot be read`));
        document.head.append(script);
      });
      return kept.get(name);
    });

  /** Promise packed voxels. */
  const bytesOf = async (name) => {
    if (!served) {
      const text = await textOf(name);
      return new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
    }
    const buffer = await once(name, async () => {
      const answer = await fetch(new URL(name, root));
      if (!answer.ok) throw new Error(`${answer.url} cannot be read`);
      return answer.arrayBuffer();
    });
    return new DataView(buffer);
  };

  /** Promise a module, loaded once however many viewers share it. */
  const moduleOf = (name) =>
    once(`module ${name}`, async () =>
      import(URL.createObjectURL(new Blob([await textOf(name)], { type: "text/javascript" }))),
    );

  /** What anywidget's model is to a module, without a kernel to share it with. */
  function modelOf(state) {
    const reactions = {};
    return {
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
  }

  /** Fetch the pictures beside the one that an explorer shows, so that they are there when a slider moves on. */
  function lookAhead(state) {
    const axes = state._controls.map((control) => control.positions ?? control.choices);
    const place = state._controls.map(({ name }, axis) => axes[axis].indexOf(state.values[name]));
    for (const axis of axes.keys())
      for (const step of [-1, 1]) {
        const beside = place.with(axis, place[axis] + step).join(" ");
        if (state.pictures[beside]) new Image().src = state.pictures[beside][0];
      }
  }

  async function enliven(place) {
    const state = JSON.parse(place.querySelector("script[type='application/json']").textContent);
    const layers = state._voxels?.layers ?? [];
    const [module] = await Promise.all([
      moduleOf(place.dataset.module),
      ...layers.map(async (layer) => (layer.voxels = await bytesOf(layer.voxels))),
    ]);
    for (const picture of Object.values(state.pictures ?? {})) picture[0] = new URL(picture[0], root).href;
    const model = modelOf(state);
    const still = place.querySelector(".slicewise-still");
    const live = document.createElement("div");
    live.className = "slicewise-waiting";
    still.after(live);
    await module.default.render({ model, el: live }).drawn;
    live.classList.remove("slicewise-waiting");
    still.remove();
    if (state.pictures) {
      live.addEventListener("focusin", () => lookAhead(state), { once: true });
      model.on("change:values", () => lookAhead(state));
    }
  }

  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries)
        if (isIntersecting) {
          near.unobserve(target);
          enliven(target);
        }
    },
    { rootMargin: "800px" },
  );
  for (const place of document.querySelectorAll(".slicewise-page")) near.observe(place);
})();
