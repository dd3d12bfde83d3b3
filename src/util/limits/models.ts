// Limits: Files of models, and how they come here.
import { MiB } from './units.ts';

/** GGUF files. Real files have up to about 2 000 tensors and 60 metadata keys. */
export const ggufLimits = {
  /** Metadata key-value pairs. */
  metadataPairs: 65_536,
  /** Tensors of one file. */
  tensors: 262_144,
  /** Bytes of one key. The format says 2^16 - 1. */
  keyBytes: 65_535,
  /** Bytes of one metadata string: chat templates reach 100 KiB. */
  stringBytes: 16 * MiB,
  /** Elements of one metadata array: vocabularies reach 300 000. */
  arrayElements: 16_777_216,
  /** Levels of nested arrays. */
  arrayDepth: 4,
  /** Bytes of metadata kept in memory; long arrays stay in the file and do not count. */
  metadataBytes: 64 * MiB,
  /** Bytes of one tensor name. ggml allows 63; some builds of it more. */
  tensorNameBytes: 127,
  /** Dimensions of one tensor: ggml's own bound. */
  dimensions: 4,
  /** Bytes of header, metadata and tensor table together. */
  headerBytes: 512 * MiB,
  /** Bytes read from the file at once while parsing. */
  readBytes: 1 * MiB,
  /** Files of one split model. */
  splitFiles: 1024,
  /** Layers of one model: llama.cpp's own bound. */
  layers: 512,
} as const;

/** Downloads from a model hub. */
export const downloadLimits = {
  /** Tries in a row that bring nothing new before giving up; each goes on where the last stopped. */
  tries: 6,
  /** First wait between tries; doubles. */
  backoffMs: 500,
  /** Longest wait between tries. */
  backoffMaxMs: 15_000,
  /** Longest wait that a busy hub may ask for with `retry-after`. */
  retryAfterMaxMs: 60_000,
  /** A connection that brings no byte for this long is cut and tried again. */
  stallMs: 30_000,
  /** Files of one repository that are looked at. */
  repositoryFiles: 10_000,
  /** Bytes of one answer of the hub's API: 1 000 files with their details are about 500 KiB. */
  answerBytes: 16 * MiB,
  /** How often progress is reported. */
  progressMs: 250,
  /** Speed is measured over this long. */
  rateWindowMs: 15_000,
  /** A remaining time is told only after this long: the first seconds say little. */
  etaAfterMs: 5_000,
  /** How often a process looks after a file that another process is downloading. */
  claimPollMs: 500,
  /** A partial file that has not grown for this long has lost its owner: longer than all tries of a cut connection. */
  claimStaleMs: 10 * 60_000,
  /** Models whose last use is remembered. */
  rememberedModels: 1024,
  /** Disk left free after a download, bytes: the machine still has to work. */
  freeBytes: 512 * MiB,
} as const;
