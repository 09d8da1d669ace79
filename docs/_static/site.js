// What scrolls sideways must be reachable by the keyboard; what fits needs no stop of the Tab key.
const reachable = new ResizeObserver((changed) => {
  for (const { target } of changed)
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
});
for (const each of document.querySelectorAll("pre, .table-wrapper, .cell_output table, .formula, .line-block")) reachable.observe(each);
