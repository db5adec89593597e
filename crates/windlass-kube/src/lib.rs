//! The only crate that names Kubernetes: CRDs, controller, Jobs on ComputeJob resources
