// A program with traits, generics, closures and names beyond ASCII, for tests of debug information.
use std::collections::HashMap;
use std::fmt::Debug;

trait Shape {
    fn area(&self) -> f64;
    fn name(&self) -> String {
        "shape".to_string()
    }
}
struct Square(f64);
impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

#[inline(never)]
fn total<T: AsRef<[Box<dyn Shape + Send>]>>(v: T) -> f64 {
    v.as_ref().iter().map(|s| s.area() + s.name().len() as f64).sum()
}
#[inline(never)]
fn show<const N: usize, T: Debug>(x: [T; N]) -> String {
    format!("{:?}", x)
}
mod größe {
    #[inline(never)]
    pub fn länge(x: &str) -> usize {
        x.chars().filter(|c| c.is_alphabetic()).count()
    }
}
fn main() {
    let n: usize = std::env::args().count();
    let shapes: Vec<Box<dyn Shape + Send>> = vec![Box::new(Square(n as f64))];
    let mut m: HashMap<String, Vec<Option<(u8, char)>>> = HashMap::new();
    m.entry("a".into()).or_default().push(Some((1, 'x')));
    println!("{} {} {} {}", total(shapes), show([n; 4]), show(["a"; 2]), größe::länge("äb1"));
    std::thread::spawn(move || println!("{}", n)).join().unwrap();
}
