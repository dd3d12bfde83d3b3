// Limits: Where models are placed, and when a placement is made anew.

/** Splits of a model over machines. */
export const placementLimits = {
  /** Longest median round trip between a host and a worker: each costs one a token, and 80 ms leave 12 tokens a second. */
  rttCapMs: 80,
  /** What a stage costs a token beside its round trip: commands written, read and parsed. Makes fewer devices win. */
  stageMs: 0.5,
  /** Devices of one split, GPUs of workers and host together: llama.cpp takes 16, and one of those is its CPU. */
  devices: 15,
  /** Nodes that shall each hold a model whole, of one plan that is asked for. */
  replicas: 1_000,
  /** What a new plan must gain in expected tokens a second, as a share: loading anew costs minutes. */
  replanGain: 0.2,
  /** Least time between two plans of a model: measurements settle, and members that come and go do not shake it. */
  replanMs: 45_000,
} as const;
