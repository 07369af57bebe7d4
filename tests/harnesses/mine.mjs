// The maths: an array is { shape, data }, and a function takes a list of them and returns one.

export const softmax = ([x]) => {
  const most = x.data.reduce((a, b) => Math.max(a, b), -Infinity);
  const e = x.data.map((v) => Math.exp(v - most));
  const sum = e.reduce((a, b) => a + b, 0);
  return [like(x, e.map((v) => v / sum))];
};

export const softmax_vjp = ([delta, x]) => {
  const [s] = softmax([x]);
  const inner = dot(s.data, delta.data);
  return [like(x, s.data.map((v, i) => v * (delta.data[i] - inner)))];
};

export const softmax_cross_entropy = ([x, y]) => {
  const terms = log_softmax(x).map((v, i) => (y.data[i] === 0 ? 0 : -y.data[i] * v));
  return [{ shape: [], data: Float64Array.of(terms.reduce((a, b) => a + b, 0)) }];
};

export const softmax_cross_entropy_vjp = ([delta, x, y]) => {
  const [d] = delta.data;
  const log_s = log_softmax(x);
  const total = y.data.reduce((a, b) => a + b, 0);
  return [like(x, log_s.map((v, i) => d * (Math.exp(v) * total - y.data[i]))), like(y, log_s.map((v) => -d * v))];
};

export const affine = ([W, x, b]) => [like(b, b.data.map((v, i) => v + dot(row(W, i), x.data)))];

export const affine_vjp = ([delta, W, x, b]) => {
  const n = x.data.length;
  const dW = W.data.map((_, k) => delta.data[Math.floor(k / n)] * x.data[k % n]);
  const dx = x.data.map((_, j) => dot(delta.data, column(W, j)));
  return [like(W, dW), like(x, dx), like(b, delta.data)];
};

export const tanh = ([x]) => [like(x, x.data.map(Math.tanh))];

export const tanh_vjp = ([delta, x]) => [like(x, x.data.map((v, i) => delta.data[i] / Math.cosh(v) ** 2))];

export const two_layer_network_tanh = ([W1, b1, W2, b2, x, y]) => {
  const [h] = tanh(affine([W1, x, b1]));
  return softmax_cross_entropy([...affine([W2, h, b2]), y]);
};

export const two_layer_network_tanh_vjp = ([delta, W1, b1, W2, b2, x, y]) => {
  const [z1] = affine([W1, x, b1]);
  const [h] = tanh([z1]);
  const [z2] = affine([W2, h, b2]);
  const [dz2, dy] = softmax_cross_entropy_vjp([delta, z2, y]);
  const [dW2, dh, db2] = affine_vjp([dz2, W2, h, b2]);
  const [dz1] = tanh_vjp([dh, z1]);
  const [dW1, dx, db1] = affine_vjp([dz1, W1, x, b1]);
  return [dW1, db1, dW2, db2, dx, dy];
};

// How many axes the arguments have, delta first; tanh takes any.
export const AXES = {
  softmax: [1],
  softmax_vjp: [1, 1],
  softmax_cross_entropy: [1, 1],
  softmax_cross_entropy_vjp: [0, 1, 1],
  affine: [2, 1, 1],
  affine_vjp: [1, 2, 1, 1],
  tanh: null,
  tanh_vjp: null,
  two_layer_network_tanh: [2, 1, 2, 1, 1, 1],
  two_layer_network_tanh_vjp: [0, 2, 1, 2, 1, 1, 1],
};

const like = ({ shape }, data) => ({ shape, data });
const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
const row = (W, i) => W.data.subarray(i * W.shape[1], (i + 1) * W.shape[1]);
const column = (W, j) => Float64Array.from({ length: W.shape[0] }, (_, i) => W.data[i * W.shape[1] + j]);
const log_softmax = (x) => {
  const most = x.data.reduce((a, b) => Math.max(a, b), -Infinity);
  const log_sum = Math.log(x.data.reduce((sum, v) => sum + Math.exp(v - most), 0));
  return x.data.map((v) => v - most - log_sum);
};
