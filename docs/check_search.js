// Check the search of a built site: `node docs/check_search.js docs/_build/html` asks what readers look for, by the
// site's own script. The page that answers must come first.
// Write all pages before (`sphinx -a`): Sphinx forgets the index entries of pages that a build does not write.
const fs = require("fs"), path = require("path"), vm = require("vm");

const WANTED = {
  sigmoid: "reference/activation/logistic",
  ReLU: "reference/activation/relu",
  softmax: "reference/activation/softmax",
  overfitting: "howto/training",
  csv: "howto/commandline",
  "data loader": "howto/data",
  "learning rate": "howto/training",
  GPU: "howto/gpu",
  dropout: "reference/class/nnarray.Dropout",
  "early stopping": "reference/class/nnarray.EarlyStopping",
  "save model": "howto/files",
  "confusion matrix": "reference/function/nnarray.metrics.confusion_matrix",
  "two moons": "reference/function/nnarray.datasets.moons",
  backpropagation: "explanation",
  Adam: "reference/class/nnarray.Adam",
  "cross-entropy": "reference/class/nnarray.losses.CrossEntropy",
  "batch size": "howto/training",
  standardize: "howto/data",
  JAX: "howto/jax",
  sklearn: "howto/sklearn",
  momentum: "reference/class/nnarray.SGD",
  linear: "reference/class/nnarray.Dense",
};

const folder = process.argv[2];
const page = { readyState: "loading", addEventListener: () => {}, documentElement: { dataset: {} }, getElementById: () => null };
const site = vm.createContext({ ...page, document: page, URLSearchParams, SPHINX_HIGHLIGHT_ENABLED: false });
site.window = site;
for (const file of ["_static/doctools.js", "_static/language_data.js", "_static/searchtools.js", "searchindex.js"])
  vm.runInContext(fs.readFileSync(path.join(folder, file), "utf8"), site);
site.wanted = WANTED;
const found = JSON.parse(vm.runInContext(`JSON.stringify(Object.fromEntries(Object.keys(wanted).map((query) =>
  [query, Search._performSearch(...Search._parseQuery(query)).map((each) => each[0])])))`, site));
for (const [query, pages] of Object.entries(found)) {
  const first = [...new Set(pages.reverse())].slice(0, 3), right = first[0] === WANTED[query]; // the best comes last
  if (!right) process.exitCode = 1;
  console.log(`${right ? "ok   " : "WRONG"} ${query}: ${first.join(", ")}`);
}
