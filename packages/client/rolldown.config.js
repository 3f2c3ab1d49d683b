// Each file stands alone: a SharedWorker's script cannot be split, and a bundler copies it as it is.
const entry = (name, external = []) => ({
  input: `src/${name}.ts`,
  external,
  output: { file: `dist/${name}.js`, format: 'esm', minify: true },
});
export default [
  entry('index', ['./history.js', './marks.js', './worker.js']),
  entry('history'),
  entry('marks'),
  entry('worker'),
  entry('react', ['react', './index.js']),
  entry('vue', ['vue', './index.js']),
];
