//! Artefacts: object files with read-only weights, static and shared libraries, C header, manifest.
