// Makes the viewers of a page live, each when it comes near the part of the page that is seen.
//
// Their data lie in the folder `_viewers`. Where the page was opened from a folder a script may read no file;
// there each comes as a script of its own, which puts it into `slicewise.kept`, as modules do everywhere.

(() => {
  const root = new URL(`${document.documentElement.dataset.content_root ?? ""}_viewers/`, document.baseURI);
  const served = location.protocol !== "file:";
  const kept = (slicewise.kept ??= {});
  const promised = new Map();

  const once = (name, load) => {
    if (!promised.has(name)) promised.set(name, load());
    return promised.get(name);
  };

  /** Promise what a script hands over, such as a module; it is loaded once however many viewers share it. */
  const scriptOf = (name) =>
    once(name, async () => {
      const script = document.createElement("script");
      script.src = new URL(`${name}.js`, root);
      await new Promise((done, fail) => {
        script.onload = done;
        script.onerror = () => fail(new Error(`${script.src} cannot be read`));
        document.head.append(script);
      });
      return kept[name];
    });

  /** Promise packed voxels. */
  const bytesOf = async (name) => {
    if (!served) {
      const text = await scriptOf(name);
      return new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
    }
    const buffer = await once(name, async () => {
      const answer = await fetch(new URL(name, root));
      if (!answer.ok) throw new Error(`${answer.url} cannot be read`);
      return answer.arrayBuffer();
    });
    return new DataView(buffer);
  };

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
    for (const layer of state._voxels?.layers ?? []) layer.voxels = bytesOf(layer.voxels);
    for (const picture of Object.values(state.pictures ?? {})) picture[0] = new URL(picture[0], root).href;
    const { module } = place.dataset;
    const model = await slicewise.enliven(place, state, kept[module] ?? (await scriptOf(module)));
    if (state.pictures) {
      place.addEventListener("focusin", () => lookAhead(state), { once: true });
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
  const watch = (places) => places.forEach((place) => near.observe(place));
  // A viewer at the top of a page begins before what follows it is there, so that nothing has to move.
  const top = document.currentScript.closest(".slicewise-page");
  if (top) enliven(top);
  const rest = () =>
    watch([...document.querySelectorAll(".slicewise-page")].filter((place) => place !== top));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", rest);
  else rest();
})();
