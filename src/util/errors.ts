// The one table of errors: what every failure is called, how each surface reports it and what the
// reader can do about it. docs/errors.md is generated from it (npm run docs). No other error type exists.

/** OpenAI's `error.type` values that we use. */
export type OpenAiErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'not_found_error'
  | 'rate_limit_error'
  | 'server_error';

/** How one kind of failure is reported. */
export interface ErrorKind {
  /** HTTP status of the API's answer. */
  readonly status: number;
  readonly type: OpenAiErrorType;
  /** Whether the same request may succeed elsewhere or later. */
  readonly retryable: boolean;
  /** Exit code of the command line: 1 failed, 2 usage, 69 unavailable, 130 interrupted. */
  readonly exitCode: 1 | 2 | 69 | 130;
  /** What to do now, for a person. */
  readonly hint: string;
}

const kind = (
  status: number,
  type: OpenAiErrorType,
  retryable: boolean,
  exitCode: ErrorKind['exitCode'],
  hint: string,
): ErrorKind => ({ status, type, retryable, exitCode, hint });

/** Every error code. Codes are a contract: they are added, never renamed. */
export const errorTable = {
  // The request itself.
  invalid_json: kind(400, 'invalid_request_error', false, 2, 'Send a body that is one JSON object.'),
  invalid_request: kind(400, 'invalid_request_error', false, 2, 'Correct the field named in `param`.'),
  unsupported_parameter: kind(
    400,
    'invalid_request_error',
    false,
    2,
    'Leave the field named in `param` out, or use an engine that has it.',
  ),
  forbidden_parameter: kind(
    400,
    'invalid_request_error',
    false,
    2,
    'Leave the field out: it would choose files, slots or limits of the serving machine.',
  ),
  context_length_exceeded: kind(
    400,
    'invalid_request_error',
    false,
    1,
    'Shorten the input, or serve the model with a larger --ctx.',
  ),
  invalid_schema: kind(
    400,
    'invalid_request_error',
    false,
    2,
    'Rewrite the JSON schema without the keyword named in the message.',
  ),
  invalid_api_key: kind(
    401,
    'authentication_error',
    false,
    1,
    'Send the key as `Authorization: Bearer KEY` or `x-api-key: KEY`.',
  ),
  forbidden_origin: kind(
    403,
    'permission_error',
    false,
    1,
    'Call the API by a loopback name, or allow the origin in the configuration.',
  ),
  model_not_found: kind(404, 'not_found_error', false, 1, 'Ask `GET /v1/models` for what is served.'),
  unknown_url: kind(404, 'not_found_error', false, 1, 'See the README for the routes that exist.'),
  method_not_allowed: kind(
    405,
    'invalid_request_error',
    false,
    1,
    'Use a method that the `Allow` header names.',
  ),
  request_timeout: kind(408, 'invalid_request_error', true, 1, 'Send the whole request without long pauses.'),
  body_too_large: kind(413, 'invalid_request_error', false, 1, 'Send a body of at most 64 MiB.'),
  unsupported_media_type: kind(
    415,
    'invalid_request_error',
    false,
    2,
    'Send `content-type: application/json`, uncompressed.',
  ),
  headers_too_large: kind(431, 'invalid_request_error', false, 1, 'Send fewer or shorter headers.'),
  rate_limit_exceeded: kind(429, 'rate_limit_error', true, 69, 'Wait as long as `retry-after` says.'),
  queue_full: kind(
    429,
    'rate_limit_error',
    true,
    69,
    'Wait as long as `retry-after` says, or add a replica.',
  ),
  model_unsupported: kind(
    400,
    'invalid_request_error',
    false,
    1,
    'Ask a model that has this capability; `GET /v1/models` lists them.',
  ),

  // Serving it.
  model_loading: kind(503, 'server_error', true, 69, 'Try again after `retry-after` seconds.'),
  model_failed: kind(503, 'server_error', true, 69, 'Run `meshnode doctor`, then load the model again.'),
  engine_unavailable: kind(503, 'server_error', true, 69, 'Try again: the engine is being restarted.'),
  engine_lost: kind(
    502,
    'server_error',
    true,
    1,
    'Send the request again: the engine stopped in the middle of the answer.',
  ),
  engine_protocol: kind(
    502,
    'server_error',
    true,
    1,
    'The engine answered in a way that cannot be right; its log has more.',
  ),
  frame_invalid: kind(
    502,
    'server_error',
    true,
    1,
    'The other node broke the protocol between nodes: run the same version of meshnode on both.',
  ),
  engine_timeout: kind(504, 'server_error', true, 1, 'Send the request again: the engine stopped answering.'),
  engine_error: kind(500, 'server_error', true, 1, 'The engine refused or failed; its message says why.'),
  deadline_exceeded: kind(504, 'server_error', true, 1, 'Allow more time, or ask for fewer tokens.'),
  cancelled: kind(499, 'invalid_request_error', false, 130, 'The caller hung up.'),
  shutting_down: kind(503, 'server_error', true, 69, 'The node is stopping; ask another one.'),
  internal: kind(
    500,
    'server_error',
    false,
    1,
    'This is a fault of meshnode: please report it with the request id.',
  ),

  // Models and files.
  gguf_invalid: kind(500, 'server_error', false, 1, 'The file is damaged or no GGUF: download it again.'),
  model_file_missing: kind(
    404,
    'not_found_error',
    false,
    1,
    'Check the path, or pull the model with `meshnode models pull REF`.',
  ),
  model_ref_invalid: kind(
    400,
    'invalid_request_error',
    false,
    2,
    'Use a path to a GGUF, `hf:org/repo:QUANT`, or a name that `meshnode models` lists.',
  ),
  model_too_large: kind(
    503,
    'server_error',
    false,
    69,
    'Choose a smaller model or quantisation, lower --ctx, or raise --max-vram.',
  ),
  download_not_found: kind(
    404,
    'not_found_error',
    false,
    1,
    'Check the repository name and the quantisation.',
  ),
  download_denied: kind(
    403,
    'permission_error',
    false,
    1,
    'Accept the licence of the model on its page and set HF_TOKEN to a token that may read it.',
  ),
  download_failed: kind(502, 'server_error', true, 69, 'Try again: the download goes on where it stopped.'),
  download_corrupt: kind(
    502,
    'server_error',
    true,
    1,
    'The bytes do not match the published checksum and were deleted; download again.',
  ),
  disk_full: kind(507, 'server_error', false, 1, 'Free some disk space, or move the cache with HF_HOME.'),

  // The node and its machine.
  usage: kind(400, 'invalid_request_error', false, 2, 'See `meshnode --help`.'),
  config_invalid: kind(400, 'invalid_request_error', false, 2, 'Correct the line named in the message.'),
  port_in_use: kind(
    503,
    'server_error',
    false,
    69,
    'Stop the other program, or choose another port (0 takes any free one).',
  ),
  data_dir_in_use: kind(
    503,
    'server_error',
    false,
    69,
    'Stop the other node, or give this one its own folder with --data-dir.',
  ),
  data_dir_unwritable: kind(
    503,
    'server_error',
    false,
    69,
    'Make the folder writable, or choose another with --data-dir.',
  ),
  key_required: kind(
    400,
    'invalid_request_error',
    false,
    2,
    'Run `meshnode keys create NAME`, or bind to 127.0.0.1, where no key is needed.',
  ),
  node_not_running: kind(503, 'server_error', true, 69, 'Start it with `meshnode`.'),
  engine_missing: kind(
    503,
    'server_error',
    false,
    69,
    'Install the optional dependency node-llama-cpp, or attach a server with --attach URL.',
  ),
  engine_build_failed: kind(
    500,
    'server_error',
    false,
    1,
    'The embedded engine works meanwhile. `meshnode engine build --log-level debug` shows every line of the build.',
  ),
  attach_failed: kind(503, 'server_error', true, 69, 'Check the URL and that the server runs.'),
  interrupted: kind(499, 'invalid_request_error', false, 130, 'Stopped by the user.'),

  // The mesh: who belongs to it.
  token_invalid: kind(
    400,
    'invalid_request_error',
    false,
    1,
    'Copy the whole token again, or ask for a new invite.',
  ),
  token_expired: kind(400, 'invalid_request_error', false, 1, 'Ask for a new invite: `meshnode invite`.'),
  token_used_up: kind(
    400,
    'invalid_request_error',
    false,
    1,
    'Ask for a new invite: `meshnode invite --uses N`.',
  ),
  mesh_mismatch: kind(
    403,
    'permission_error',
    false,
    1,
    'Use a token of this mesh; one data folder belongs to one mesh.',
  ),
  mesh_joined: kind(
    409,
    'invalid_request_error',
    false,
    1,
    'Run `meshnode leave` first, or give the other mesh its own --data-dir.',
  ),
  join_failed: kind(
    503,
    'server_error',
    true,
    69,
    'Check that a node of the mesh runs and can be reached from here.',
  ),
  envelope_invalid: kind(
    502,
    'server_error',
    false,
    1,
    'The other node sent what no node signs; run the same version on both.',
  ),
  kind_unknown: kind(502, 'server_error', false, 1, 'Update this node: the other one runs a later version.'),
  certificate_invalid: kind(403, 'permission_error', false, 1, 'Join again with a new invite.'),
  certificate_expired: kind(403, 'permission_error', false, 1, 'Join again with a new invite.'),
  certificate_revoked: kind(403, 'permission_error', false, 1, 'Ask an admin of the mesh for a new invite.'),
  role_forbidden: kind(
    403,
    'permission_error',
    false,
    1,
    'Ask an admin of the mesh for an invite with a larger role; a strict invite works only while its inviter runs and can be reached.',
  ),
  record_invalid: kind(
    502,
    'server_error',
    false,
    1,
    'The other node announced what it may not; run the same version on both.',
  ),
  record_untimely: kind(
    502,
    'server_error',
    true,
    1,
    'Nothing to do: it is taken once it is due, or as soon as this node knows more.',
  ),
  clock_skewed: kind(
    503,
    'server_error',
    true,
    69,
    'Set the clocks of both machines (NTP does it) and try again.',
  ),
  key_conflict: kind(
    409,
    'server_error',
    false,
    1,
    'Two processes use the key of this data folder: stop one, and never copy a data folder to a second machine.',
  ),
  mesh_missing: kind(
    503,
    'server_error',
    true,
    69,
    'Start the node with `meshnode`: it makes a mesh of its own, or joins one with --join TOKEN.',
  ),
  mesh_key_at_risk: kind(
    409,
    'invalid_request_error',
    false,
    1,
    'Save the key with `meshnode mesh export-key FILE`, then run `meshnode leave --yes`.',
  ),
  mesh_key_missing: kind(
    403,
    'permission_error',
    false,
    1,
    'Do this on the node that made the mesh, or import its key.',
  ),
  mesh_key_invalid: kind(
    400,
    'invalid_request_error',
    false,
    1,
    'Use the whole file that `meshnode mesh export-key` wrote.',
  ),
  passphrase_wrong: kind(
    400,
    'invalid_request_error',
    false,
    1,
    'Try again with the passphrase of the export.',
  ),

  // The mesh: reaching each other.
  peer_unknown: kind(404, 'not_found_error', false, 1, 'Run `meshnode peers` for the peers there are.'),
  peer_unreachable: kind(
    503,
    'server_error',
    true,
    69,
    'Check that the peer runs; `meshnode doctor` says more.',
  ),
  peer_key_mismatch: kind(
    502,
    'server_error',
    false,
    69,
    'Another node answers at that address: ask for a new invite.',
  ),
  protocol_refused: kind(
    403,
    'permission_error',
    false,
    1,
    'The role of this node in the mesh does not allow it.',
  ),
  stream_broken: kind(502, 'server_error', true, 1, 'Try again: the connection to the peer was lost.'),
  quic_unavailable: kind(
    503,
    'server_error',
    false,
    69,
    'Nodes reach each other over TCP; no QUIC library fits this machine.',
  ),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorTable;

/** Whether a string from outside is one of our codes. */
export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(errorTable, value);
}

/** What else may be said of a failure. Every value is safe to show to the caller. */
export interface ErrorDetails {
  /** The request field at fault, as the client wrote it, e.g. `messages[0].role`. */
  param?: string;
  /** Replaces the table's hint where a better next step is known. */
  hint?: string;
  /** Seconds after which trying again makes sense. */
  retryAfterSeconds?: number;
  /** Machine-readable context, e.g. `{ path }` or the `loading` object of the API. */
  data?: Record<string, unknown>;
  /** The failure underneath, for the log only. */
  cause?: unknown;
}

/** The project's only error class. `message` says what happened, and to what. */
export class MeshnodeError extends Error {
  override readonly name = 'MeshnodeError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.details = details;
  }

  /** How this error is reported. */
  get kind(): ErrorKind {
    return errorTable[this.code];
  }

  /** What to do now, for a person. */
  get hint(): string {
    return this.details.hint ?? this.kind.hint;
  }
}

/**
 * Any thrown value as a MeshnodeError. What is not ours becomes `fallback` with a general message:
 * texts of foreign errors may hold paths or secrets, so they go to the log as `cause`, not to the caller.
 */
export function asMeshnodeError(thrown: unknown, fallback: ErrorCode = 'internal'): MeshnodeError {
  if (thrown instanceof MeshnodeError) {
    return thrown;
  }
  if (thrown instanceof Error && thrown.name === 'AbortError') {
    return new MeshnodeError('cancelled', 'The request was cancelled.', { cause: thrown });
  }
  return new MeshnodeError(fallback, 'Something went wrong inside the node.', { cause: thrown });
}

/** The `code` of a Node.js system error (`ENOENT`, `EADDRINUSE`, ...), if `thrown` is one. */
export function systemErrorCode(thrown: unknown): string | undefined {
  if (thrown instanceof MeshnodeError) {
    return undefined;
  }
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined;
}

/** Throws `internal` unless `condition` holds: for what can only be false through our own fault. */
export function assertInvariant(condition: boolean, what: string): asserts condition {
  if (!condition) {
    throw new MeshnodeError('internal', `Invariant broken: ${what}`);
  }
}
