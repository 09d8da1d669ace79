// Before the page is drawn: the theme that was chosen last, if any. Without one, that of the system holds.
(() => {
  try {
    const chosen = localStorage.getItem("nnarray-theme");
    if (chosen) document.documentElement.dataset.theme = chosen;
  } catch { /* storage is off: the theme of the system */ }
})();
