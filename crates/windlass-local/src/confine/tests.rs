//! With the control groups of this machine.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::test_kill_process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::process::Pid;
use windlass_core::assignment::Confinement;

use super::cgroups::{Cgroups, lock};
use super::cores::Cores;
use super::fallback::Levels;
use super::mounts::{CgroupMount, cgroup_mounts};
use super::slot::Slot;
use super::version::Version;
use super::{group, server_id};

const MIB: u64 = 1 << 20;

/// Control groups of a name of their own.
struct Fixture {
    cgroups: Option<Cgroups>,
    id: String,
    /// It makes the name.
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new(cores: &Cores) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let id = format!("test-{}-{}", std::process::id(), server_id(directory.path()).unwrap());
        Self { cgroups: Some(Cgroups::detect(&id, cores)), id, _directory: directory }
    }

    /// None, and says so, where this machine has no groups to try.
    fn with(needs: impl Fn(&Levels) -> bool) -> Option<(Self, Cores)> {
        let cores = Cores::find(1);
        let machine = Self::new(&cores);
        let cgroups = machine.cgroups();
        if needs(&cgroups.levels) {
            return Some((machine, cores));
        }
        let mounts = real_mounts();
        let writable = |name: &str| {
            mounts.iter().any(|mount| {
                mount.has_controller(name) && group::check_joinable(&mount.own).is_ok()
            })
        };
        assert!(
            !["memory", "cpuset", "freezer"].into_iter().all(writable),
            "{:?}",
            cgroups.notes()
        );
        eprintln!("skipped, because of {cgroups}: {:?}", cgroups.notes());
        None
    }

    fn cgroups(&self) -> &Cgroups {
        self.cgroups.as_ref().unwrap()
    }

    fn left(&self) -> Vec<PathBuf> {
        left(&self.id)
    }

    /// Ends it, and nothing is left.
    fn close(mut self) {
        assert!(!self.left().is_empty());
        self.cgroups = None;
        assert_eq!(self.left(), [""; 0].map(PathBuf::from));
    }
}

fn real_mounts() -> Vec<CgroupMount> {
    cgroup_mounts(
        &fs::read_to_string("/proc/self/cgroup").unwrap(),
        &fs::read_to_string("/proc/self/mountinfo").unwrap(),
    )
}

fn left(id: &str) -> Vec<PathBuf> {
    let name = format!("windlass-{id}");
    real_mounts().iter().flat_map(|mount| group::find(&mount.mount, &name)).collect()
}

/// Starts a shell script in a slot.
fn start(slot: &Slot, script: &str) -> Child {
    let join = "for file in \"$@\"; do echo 0 >\"$file\" || exit 99; done; echo in; ";
    let mut child = Command::new("sh")
        .args(["-c", &format!("{join}{script}"), "sh"])
        .args(slot.confinement().join)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Until it has joined.
    let mut word = [0; 3];
    io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
    child
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "a process does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn wait_until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kills(slot: &Slot) -> u64 {
    let text = fs::read_to_string(slot.confinement().memory_events.unwrap()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn whoever_allocates_too_much_is_killed_and_counted() {
    let Some((machine, _)) = Fixture::with(|levels| levels.memory.is_some()) else { return };
    let slot = machine.cgroups().acquire(&[], 64 * MIB).unwrap();
    let before = kills(&slot);
    let status = wait(&mut start(&slot, "dd if=/dev/zero of=/dev/null bs=32M count=1"));
    assert!(status.success(), "{status}");
    assert_eq!(kills(&slot), before);
    // Two processes that are too much together.
    let hog = "dd if=/dev/zero of=/dev/null bs=48M count=1000";
    let status = wait(&mut start(&slot, &format!("{hog} & {hog}; wait")));
    assert!(kills(&slot) > before, "{status}");
    machine.cgroups().release(slot);
    // The group is used again, with room for more.
    let slot = machine.cgroups().acquire(&[], 512 * MIB).unwrap();
    let before = kills(&slot);
    assert!(wait(&mut start(&slot, "dd if=/dev/zero of=/dev/null bs=200M count=1")).success());
    assert_eq!(kills(&slot), before);
    assert_eq!(machine.cgroups().made.load(Ordering::Relaxed), 1);
    machine.cgroups().release(slot);
    machine.close();
}

#[test]
fn what_resets_its_affinity_stays_on_its_cpus() {
    let Some((machine, mut cores)) = Fixture::with(|levels| levels.cpus.is_some()) else { return };
    let all = cores.all();
    let cpus = cores.acquire(1).unwrap();
    let slot = machine.cgroups().acquire(&cpus, 64 * MIB).unwrap();
    let mut child = start(&slot, "exec sleep 60");
    let pid = Pid::from_child(&child);
    let mut wanted = CpuSet::new();
    all.iter().for_each(|&cpu| wanted.set(cpu as usize));
    sched_setaffinity(Some(pid), &wanted).unwrap();
    let on = sched_getaffinity(Some(pid)).unwrap();
    let on: Vec<u32> = (0..1024).filter(|&cpu| on.is_set(cpu as usize)).collect();
    assert_eq!(on, cpus);
    // Limits of a group that is used change as well: any CPU.
    slot.kill().unwrap();
    wait(&mut child);
    machine.cgroups().release(slot);
    let slot = machine.cgroups().acquire(&[], 64 * MIB).unwrap();
    let mut child = start(&slot, "exec sleep 60");
    let on = sched_getaffinity(Some(Pid::from_child(&child))).unwrap();
    assert!(all.iter().all(|&cpu| on.is_set(cpu as usize)));
    slot.kill().unwrap();
    wait(&mut child);
    machine.close();
}

#[test]
fn kill_ends_what_has_left_its_session() {
    let Some((machine, _)) = Fixture::with(|levels| levels.processes.is_some()) else { return };
    let slot = machine.cgroups().acquire(&[], 64 * MIB).unwrap();
    let mut child = start(&slot, "setsid setsid sleep 60 & setsid -f sleep 60; exec sleep 60");
    wait_until(|| slot.processes().unwrap().len() == 3);
    let all = slot.processes().unwrap();
    slot.kill().unwrap();
    assert_eq!(slot.processes().unwrap(), []);
    assert_eq!(wait(&mut child).code(), None);
    // Those that nobody has waited for are no longer processes of the group.
    assert!(all.contains(&Pid::from_child(&child)));
    machine.cgroups().release(slot);
    machine.close();
}

#[test]
fn kill_ends_what_forks_all_the_time() {
    let Some((machine, _)) = Fixture::with(|levels| levels.processes.is_some()) else { return };
    let slot = machine.cgroups().acquire(&[], 256 * MIB).unwrap();
    let forks = "f() { while :; do sh -c 'sleep 0.01 & sleep 0.01' & sleep 0.005; done; }; f & f";
    let mut child = start(&slot, forks);
    wait_until(|| slot.processes().unwrap().len() > 6);
    slot.kill().unwrap();
    wait(&mut child);
    assert_eq!(slot.processes().unwrap(), []);
    machine.cgroups().release(slot);
    machine.close();
}

#[test]
fn a_bare_group_of_version_two_is_killed_as_one_step() {
    let mounts: Vec<_> =
        real_mounts().into_iter().filter(|mount| mount.version == Version::V2).collect();
    let Some((machine, cores)) = Fixture::with(|_| true) else { return };
    let name = format!("windlass-{}-two", machine.id);
    let cgroups = Cgroups::detect_in(&mounts, &name, &cores);
    if cgroups.levels.processes.is_none() {
        return eprintln!("skipped, because of {cgroups}: {:?}", cgroups.notes());
    }
    let slot = cgroups.acquire(&[], 64 * MIB).unwrap();
    let mut child = start(&slot, "setsid -f sleep 60; exec sleep 60");
    wait_until(|| slot.processes().unwrap().len() == 2);
    let freeze = slot.first_group().join("cgroup.freeze");
    group::write(&freeze, "1").unwrap();
    slot.kill().unwrap();
    assert_eq!(wait(&mut child).code(), None);
    cgroups.release(slot);
    assert_eq!(group::read(&freeze).unwrap().trim(), "0", "the next attempt would be frozen");
    assert_eq!(lock(&cgroups.idle).len(), 1);
    drop(cgroups);
    assert!(mounts.iter().all(|mount| group::find(&mount.mount, &name).is_empty()));
}

#[test]
fn what_is_given_back_with_processes_is_emptied_first() {
    let Some((machine, _)) = Fixture::with(|levels| levels.processes.is_some()) else { return };
    let slot = machine.cgroups().acquire(&[], 64 * MIB).unwrap();
    // Below it, as a container would be, and frozen where that can be.
    let below = slot.first_group().join("below");
    group::make(&below).unwrap();
    let script = "echo 0 >\"$below/cgroup.procs\" || exit 99; exec sleep 60";
    let script = format!("below={}; {script}", below.display());
    let mut child = start(&slot, &script);
    wait_until(|| !group::processes(&below).unwrap().is_empty());
    group::write(&below.join("freezer.state"), "FROZEN").unwrap_or_default();
    machine.cgroups().release(slot);
    wait(&mut child);
    assert_eq!(lock(&machine.cgroups().idle).len(), 1);
    machine.close();
}

#[test]
fn what_an_earlier_server_left_is_ended_wherever_it_was() {
    let Some((mut machine, cores)) = Fixture::with(|levels| levels.processes.is_some()) else {
        return;
    };
    machine.cgroups = None;
    // That server was in another group.
    let elsewhere = format!("test-elsewhere-{}", machine.id);
    let mut others = real_mounts();
    for mount in &mut others {
        mount.own.push(&elsewhere);
        mount.version.make_group(&mount.own).unwrap_or_default();
    }
    let killed_server = Cgroups::detect_in(&others, &format!("windlass-{}", machine.id), &cores);
    let slots = [killed_server.acquire(&[], 64 * MIB), killed_server.acquire(&[], 64 * MIB)];
    let slots = slots.map(Result::unwrap);
    assert!(slots[0].first_group().to_string_lossy().contains(&elsewhere));
    let mut children = slots.each_ref().map(|slot| start(slot, "setsid sleep 60"));
    wait_until(|| slots.iter().all(|slot| slot.processes().unwrap().len() == 2));
    let processes = slots.each_ref().map(|slot| slot.processes().unwrap()).concat();
    std::mem::forget(killed_server);

    machine.cgroups = Some(Cgroups::detect(&machine.id, &cores));
    for child in &mut children {
        assert_eq!(wait(child).code(), None);
    }
    // Orphans are reaped by whoever is first here; until then they are zombies.
    let alive = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        test_kill_process(*pid).is_ok() && !stat.unwrap_or_default().contains(") Z ")
    };
    assert!(!processes.iter().any(alive));
    assert_eq!(machine.cgroups().notes().iter().filter(|n| n.contains("earlier")).count(), 0);
    assert!(left(&machine.id).iter().all(|path| !path.to_string_lossy().contains(&elsewhere)));
    for mount in others {
        fs::remove_dir(&mount.own).unwrap_or_default();
    }
    machine.close();
}

#[test]
fn a_group_that_keeps_memory_is_not_used_again() {
    let Some((machine, _)) = Fixture::with(|levels| levels.memory.is_some()) else { return };
    if !Path::new("/dev/shm").is_dir() {
        return;
    }
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    let slot = machine.cgroups().acquire(&[], 64 * MIB).unwrap();
    let script = format!("dd if=/dev/zero of={} bs=1M count=8", file.path().display());
    assert!(wait(&mut start(&slot, &script)).success());
    machine.cgroups().release(slot);
    assert_eq!(lock(&machine.cgroups().idle).len(), 0);
    machine.close();
}

#[test]
fn without_groups_there_is_affinity() {
    let cores = Cores::find(1);
    let cgroups = Cgroups::detect_in(&[], "windlass-none", &cores);
    let text = cgroups.to_string();
    assert_eq!(
        text,
        "memory: watched by the worker; CPUs: affinity; processes: no groups, any number"
    );
    let slot = cgroups.acquire(&[0], MIB).unwrap();
    assert_eq!(slot.kill().unwrap_err().kind(), io::ErrorKind::Unsupported);
    let expected =
        Confinement { join: vec![], memory_events: None, cpus: vec![0], memory_bytes: MIB };
    assert_eq!(slot.confinement(), expected);
    cgroups.release(slot);
    cgroups.close().unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_the_next_choice() {
    let cores = Cores::find(1);
    let nowhere = |version, controllers: &[&str]| CgroupMount {
        version,
        controllers: controllers.iter().map(|&name| name.into()).collect(),
        mount: "/nonexistent".into(),
        own: "/nonexistent/own".into(),
    };
    let mounts = [nowhere(Version::V2, &[]), nowhere(Version::V1, &["memory", "cpuset"])];
    let cgroups = Cgroups::detect_in(&mounts, "windlass-none", &cores);
    assert!(cgroups.to_string().ends_with("no groups, any number"), "{cgroups}");
    assert!(cgroups.notes().len() >= 3, "{:?}", cgroups.notes());
}

/// `cargo nextest run --release -p windlass-local -E 'test(cost)' --run-ignored all --no-capture`
#[test]
#[ignore = "it measures"]
fn cost_of_take_and_give_back() {
    let Some((machine, mut cores)) = Fixture::with(|levels| levels.processes.is_some()) else {
        return;
    };
    let cgroups = machine.cgroups();
    let cpus = cores.acquire(1).unwrap();
    let time = |what: &mut dyn FnMut(u64)| {
        let mut times: Vec<_> = (0..300)
            .map(|round| {
                let begin = Instant::now();
                what(round);
                begin.elapsed().as_micros()
            })
            .collect();
        times.sort_unstable();
        (times[150], times[285])
    };
    let mut new = Vec::new();
    let made = time(&mut |_| new.push(cgroups.acquire(&cpus, 64 * MIB).unwrap()));
    let given = time(&mut |_| cgroups.release(new.pop().unwrap()));
    let same = time(&mut |_| cgroups.release(cgroups.acquire(&cpus, 64 * MIB).unwrap()));
    let other = time(&mut |round| {
        cgroups.release(cgroups.acquire(&cpus, (65 + round) * MIB).unwrap());
    });
    let begin = Instant::now();
    let found = Cgroups::detect(&format!("{}-b", machine.id), &cores);
    let find = begin.elapsed().as_micros();
    let begin = Instant::now();
    drop(found);
    let close = begin.elapsed().as_micros();
    eprintln!("{cgroups}; {:?}", cgroups.notes());
    eprintln!("microseconds, median and 95th percentile");
    eprintln!("new: take {made:?}, give_back {given:?}");
    eprintln!("take and give_back: same limits {same:?}, another memory limit {other:?}");
    eprintln!("find {find}, close {close}");
    machine.close();
}
