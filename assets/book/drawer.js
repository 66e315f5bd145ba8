/* The drawers of a narrow window, which the theme opens, close by a button and when an entry was chosen. */

for (const sidebar of document.querySelectorAll("#pst-primary-sidebar, #pst-secondary-sidebar")) {
  const button = document.createElement("button");
  button.className = "btn drawer-close";
  button.type = "button";
  button.textContent = "Close";
  sidebar.prepend(button); // which the theme moves into the drawer with all the rest
}

document.addEventListener("click", ({ target }) => {
  if (target.closest("dialog a[href], .drawer-close")) target.closest("dialog").close();
});
