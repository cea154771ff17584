"""Damage, kills and hostile files by the thousand: `make torture`. Each part is a module with `run(folder, share, seed) -> Outcome`."""

# The modules, in the order in which they run, with the share that `make test` does.
PARTS: dict[str, float] = {
    "videos": 0.02,
    "clocks": 0.02,
    "folders": 0.15,
    "signals": 0.15,
    "readers": 0.03,
    "disk": 0.1,
    "names": 0.1,
    "kills": 0.1,
    "numbers": 0.1,
}
