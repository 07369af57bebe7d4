//! The maths: a function takes arrays and returns some.

#[derive(Clone, Default)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

fn like(a: &Array, data: Vec<f64>) -> Array {
    Array { shape: a.shape.clone(), data }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn log_softmax(x: &Array) -> Vec<f64> {
    let most = x.data.iter().cloned().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.data.iter().map(|v| (v - most).exp()).sum();
    x.data.iter().map(|v| v - most - sum.ln()).collect()
}

fn softmax(a: &[Array]) -> Vec<Array> {
    let most = a[0].data.iter().cloned().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = a[0].data.iter().map(|v| (v - most).exp()).collect();
    let sum: f64 = e.iter().sum();
    vec![like(&a[0], e.iter().map(|v| v / sum).collect())]
}

fn softmax_vjp(a: &[Array]) -> Vec<Array> {
    let s = &softmax(&a[1..])[0].data;
    let inner = dot(s, &a[0].data);
    vec![like(&a[1], s.iter().zip(&a[0].data).map(|(s, d)| s * (d - inner)).collect())]
}

fn softmax_cross_entropy(a: &[Array]) -> Vec<Array> {
    let log_s = log_softmax(&a[0]);
    let terms = log_s.iter().zip(&a[1].data).map(|(v, y)| if *y == 0.0 { 0.0 } else { -y * v });
    vec![Array { shape: vec![], data: vec![terms.sum()] }]
}

fn softmax_cross_entropy_vjp(a: &[Array]) -> Vec<Array> {
    let (d, y, log_s) = (a[0].data[0], &a[2].data, log_softmax(&a[1]));
    let total: f64 = y.iter().sum();
    let dx = log_s.iter().zip(y).map(|(v, y)| d * (v.exp() * total - y)).collect();
    vec![like(&a[1], dx), like(&a[2], log_s.iter().map(|v| -d * v).collect())]
}

fn affine(a: &[Array]) -> Vec<Array> {
    let n = a[1].data.len();
    let row = |i: usize| &a[0].data[i * n..(i + 1) * n];
    vec![like(&a[2], a[2].data.iter().enumerate().map(|(i, b)| b + dot(row(i), &a[1].data)).collect())]
}

fn affine_vjp(a: &[Array]) -> Vec<Array> {
    let (delta, w, x) = (&a[0].data, &a[1].data, &a[2].data);
    let dw = delta.iter().flat_map(|d| x.iter().map(move |v| d * v)).collect();
    let dx = (0..x.len()).map(|j| delta.iter().enumerate().map(|(i, d)| d * w[i * x.len() + j]).sum()).collect();
    vec![like(&a[1], dw), like(&a[2], dx), like(&a[3], delta.clone())]
}

fn tanh(a: &[Array]) -> Vec<Array> {
    vec![like(&a[0], a[0].data.iter().map(|v| v.tanh()).collect())]
}

fn tanh_vjp(a: &[Array]) -> Vec<Array> {
    vec![like(&a[1], a[0].data.iter().zip(&a[1].data).map(|(d, v)| d / v.cosh() / v.cosh()).collect())]
}

fn network(a: &[Array]) -> Vec<Array> {
    let h = tanh(&affine(&[a[0].clone(), a[4].clone(), a[1].clone()]));
    let z = affine(&[a[2].clone(), h[0].clone(), a[3].clone()]);
    softmax_cross_entropy(&[z[0].clone(), a[5].clone()])
}

fn network_vjp(a: &[Array]) -> Vec<Array> {
    let [delta, w1, b1, w2, b2, x, y] = [0, 1, 2, 3, 4, 5, 6].map(|k: usize| a[k].clone());
    let z1 = affine(&[w1.clone(), x.clone(), b1.clone()]).remove(0);
    let h = tanh(&[z1.clone()]).remove(0);
    let z2 = affine(&[w2.clone(), h.clone(), b2.clone()]).remove(0);
    let last = softmax_cross_entropy_vjp(&[delta, z2, y]);
    let second = affine_vjp(&[last[0].clone(), w2, h, b2]);
    let dz1 = tanh_vjp(&[second[1].clone(), z1]).remove(0);
    let first = affine_vjp(&[dz1, w1, x, b1]);
    [&first[0], &first[2], &second[0], &second[2], &first[1], &last[1]].map(Clone::clone).to_vec()
}

pub type Function = fn(&[Array]) -> Vec<Array>;

/// Each with the axes of its arguments, delta first; tanh takes any.
pub const FUNCTIONS: [(&str, &[usize], Function); 10] = [
    ("softmax", &[1], softmax),
    ("softmax_vjp", &[1, 1], softmax_vjp),
    ("softmax_cross_entropy", &[1, 1], softmax_cross_entropy),
    ("softmax_cross_entropy_vjp", &[0, 1, 1], softmax_cross_entropy_vjp),
    ("affine", &[2, 1, 1], affine),
    ("affine_vjp", &[1, 2, 1, 1], affine_vjp),
    ("tanh", &[], tanh),
    ("tanh_vjp", &[], tanh_vjp),
    ("two_layer_network_tanh", &[2, 1, 2, 1, 1, 1], network),
    ("two_layer_network_tanh_vjp", &[0, 2, 1, 2, 1, 1, 1], network_vjp),
];
