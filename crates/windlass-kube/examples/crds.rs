fn main(){ for c in windlass_kube::crd::all(){ println!("---\n{}", serde_json::to_string_pretty(&c).unwrap()); } }
