// The parts of PROTOCOL.md that say what the code says: tables of protocols, fields and limits, and test vectors.
// They stand between markers in the document; all the rest of it is written by hand. Pure, but for reading vectors.
import { ItemDigest } from '../src/mesh/digest.ts';
import { mayOpen, type ProtocolId, protocols } from '../src/trust/gate.ts';
import { roles } from '../src/trust/roles.ts';
import {
  beatLimits,
  demandLimits,
  gossipsubLimits,
  meshLimits,
  meshMessageLimits,
  pipeLimits,
  recordLimits,
} from '../src/util/limits/mesh.ts';
import { netLimits, quicLimits } from '../src/util/limits/net.ts';
import { measureLimits } from '../src/util/limits/node.ts';
import { trustLimits } from '../src/util/limits/trust.ts';
import { trustVectors, vectorNamed } from '../test/support/trust-vectors.ts';

const sections: Readonly<Record<string, () => string>> = {
  protocols: protocolTable,
  record: recordTable,
  limits: limitTable,
  vectors: vectorText,
};

/** The document with its generated parts made anew. Throws if a part is missing. */
export function protocolMarkdown(document: string): string {
  return Object.entries(sections).reduce((text, [name, make]) => {
    const [begin, end] = [`<!-- generated: ${name} -->\n`, `<!-- end: ${name} -->\n`];
    const from = text.indexOf(begin) + begin.length;
    const to = text.indexOf(end);
    if (from < begin.length || to < from) {
      throw new Error(`PROTOCOL.md has no part between ${begin.trim()} and ${end.trim()}.`);
    }
    return `${text.slice(0, from)}${make()}\n${text.slice(to)}`;
  }, document);
}

/** What each of our protocols is for, and whether this version serves it. */
const purposes: Readonly<Record<ProtocolId, readonly [purpose: string, isServed: boolean]>> = {
  [protocols.join]: ['admission; everything that is said to and by clients', true],
  [protocols.gossip]: ['what members share: comparison, records, proofs, renewals', true],
  [protocols.measure]: ['bytes that are counted and thrown away, for `meshnode ping`', true],
  [protocols.heartbeat]: ['whether a neighbour lives, its load', true],
  [protocols.infer]: ['one inference request and its events', true],
  [protocols.route]: ['who serves what, for a client', true],
  [protocols.rpc]: ['a llama.cpp RPC tunnel under a grant', false],
  [protocols.blob]: ['bytes of models, by hash', false],
};

/** libp2p's own, as far as our gate knows them. */
const foreign: readonly (readonly [id: string, purpose: string, isServed: boolean])[] = [
  ['/meshsub/1.2.0', 'gossipsub: broadcasts', true],
  ['/meshsub/1.1.0', 'the same, older', true],
  ['/meshsub/1.0.0', 'the same, oldest', true],
  ['/ipfs/id/1.0.0', 'identify; never sent unasked', true],
  ['/ipfs/ping/1.0.0', '32 random bytes that come back', true],
  ['/floodsub/1.0.0', 'gossipsub would fall back to it', false],
];

function protocolTable(): string {
  const ours = Object.entries(purposes).map(([id, [purpose, isServed]]) => [id, purpose, isServed] as const);
  const rows = [...ours, ...foreign].map(([id, purpose, isServed]) => {
    const openers = openersOf(id);
    return [`\`${id}\``, purpose, openers, isServed ? 'yes' : openers === 'nobody' ? 'no' : 'not yet'];
  });
  return table(['id', 'purpose', 'open to', 'served'], rows);
}

function openersOf(protocol: string): string {
  if (mayOpen(undefined, protocol)) {
    return 'anyone';
  }
  const open = roles.filter((role) => mayOpen(role, protocol));
  return open.length === roles.length ? 'members' : open.join(', ') || 'nobody';
}

function recordTable(): string {
  const word = `text, ${bytes(recordLimits.wordBytes)}`;
  const model = `text, 1 to ${bytes(recordLimits.modelNameBytes)}`;
  const requests = 'float32, 0 or more';
  const list = (most: number, which: string): string => `up to ${most}, ${which}`;
  return table(
    ['no.', 'field', 'bounds', 'says'],
    [
      [1, '`epoch`', 'uint64, not 0', 'counts the starts of the node'],
      [2, '`sequence`', 'uint64', 'counts its announcements since the start'],
      [3, '`issued_ms`', 'uint64', "when, by the signer's clock"],
      [4, '`expires_ms`', `later than 3, by at most ${time(recordLimits.lifeMs)}`, 'until when'],
      [5, '`certificate`', `1 byte to ${bytes(trustLimits.certificateBytes)}`, "the signer's Certificate"],
      [6, '`left`', '', 'the node has left; 8 to 18 are empty then'],
      [7, '`role`', 'known, within the certificate', 'client: 13, 15 and 18 are empty'],
      [8, '`name`', `text, ${bytes(recordLimits.nameBytes)}`, 'for people; not unique'],
      [9, '`version`', word, 'of the software'],
      [
        10,
        '`features`',
        list(recordLimits.features, `distinct, ${word}, not empty`),
        'what it can beyond the first version',
      ],
      [
        11,
        '`addresses`',
        list(recordLimits.addresses, `distinct, ${bytes(recordLimits.addressBytes)}`),
        'multiaddrs without `/p2p`, best first',
      ],
      [12, '`devices`', `up to ${recordLimits.devices}`, 'hardware'],
      ['12.1', '`name`', `text, 1 to ${bytes(recordLimits.deviceNameBytes)}`, ''],
      ['12.2', '`kind`', `${word}, not empty`, 'cpu, cuda, metal, rocm, vulkan'],
      [
        '12.3-5',
        '`total_bytes`, `usable_bytes`, `bandwidth_bytes`',
        'uint64',
        '5: a second; 0: not measured',
      ],
      [13, '`models`', list(recordLimits.models, 'distinct by 13.1'), 'what can be asked for'],
      ['13.1', '`name`', model, ''],
      ['13.2', '`digest`', '0 or 32 bytes', 'SHA-256 of the files in order; empty: pending, or attached'],
      ['13.3', '`attached`', '', 'another server of the owner runs it'],
      ['13.4', '`state`', 'unknown reads as none', 'loading, ready'],
      ['13.5', '`kind`', word, 'chat, completion, embedding, rerank'],
      ['13.6-8', '`size_bytes`, `context_tokens`, `slots`', 'uint64, uint32, uint32', '0: not known'],
      ['13.9-10', '`architecture`, `quantisation`', word, ''],
      [14, '`demand`', list(recordLimits.demand, 'distinct by model'), "asked for by the node's own users"],
      ['14.1-2', '`model`, `requests`', `${model}; ${requests}`, 'decayed, as of 3'],
      [15, '`served`', list(recordLimits.served, 'distinct by model and origin'), 'answered for others'],
      [
        '15.1-3',
        '`model`, `origin`, `requests`',
        `${model}; 32 bytes; ${requests}`,
        'origin: key of who asked',
      ],
      [16, '`neighbours`', list(recordLimits.neighbours, 'distinct by key'), 'nearest nodes'],
      ['16.1-3', '`peer_key`, `rtt_p50_ms`, `rtt_p95_ms`', `32 bytes; ${requests}`, ''],
      [17, '`labels`', list(recordLimits.labels, 'distinct by name'), "the owner's"],
      [
        '17.1-2',
        '`name`, `value`',
        `text, 1 to ${bytes(recordLimits.labelNameBytes)}; text, ${bytes(recordLimits.labelValueBytes)}`,
        '',
      ],
      [18, '`rpc_build`', word, 'of the RPC worker; empty: lends no device'],
    ],
  );
}

function limitTable(): string {
  const perPeer = (most: number): string => `${most} a peer`;
  const perMinute = (most: number): string => `${most} a minute`;
  return table(
    ['limit', 'value'],
    [
      ['envelope', bytes(trustLimits.envelopeBytes)],
      ['payload of a record', bytes(recordLimits.payloadBytes)],
      ['payload of a death', bytes(meshLimits.deathBytes)],
      ['envelope of a use or a revocation', bytes(trustLimits.proofBytes)],
      ['certificate', bytes(trustLimits.certificateBytes)],
      ['token, before base64url', bytes(trustLimits.tokenBytes)],
      [
        'addresses of a token; characters of one',
        `${trustLimits.tokenAddresses}; ${trustLimits.addressLength}`,
      ],
      ['life of a certificate', time(trustLimits.certificateLifeMs)],
      ['renewed when less is left than', time(trustLimits.renewalLeftMs)],
      ['life of an invite', time(trustLimits.inviteLifeMs)],
      ['uses of an invite', trustLimits.inviteUses],
      ['revocations that one keeps', trustLimits.keptRevocations],
      ['difference of clocks', time(trustLimits.clockToleranceMs)],
      ['revocations held', trustLimits.revocations],
      ['uses held; of one invite, beyond its seats', `${trustLimits.uses}; ${trustLimits.spareUses}`],
      ['proofs of one hello or admitted', trustLimits.proofs],
      ['records held', meshLimits.records],
      ['records taken of one node', perMinute(meshLimits.recordsPerMinute)],
      ['deaths taken of one author', perMinute(meshLimits.deathsPerMinute)],
      ['sequences that a death may be ahead', meshLimits.deathLead],
      ['members up to which all are neighbours', meshLimits.fullMesh],
      [
        'time between announcements of one node; least',
        `${time(meshLimits.announceMs)}; ${time(meshLimits.announceLeastMs)}`,
      ],
      ['the same of all nodes together, in a larger mesh', time(meshLimits.announceShareMs)],
      [
        'life of a record; in such times, in a larger mesh',
        `${time(meshLimits.recordLifeMs)}; ${meshLimits.announcementsPerLife}`,
      ],
      ['neighbours that a first or last record is passed on to at once', meshLimits.passOn],
      [
        'time between comparisons; of a client',
        `${time(meshLimits.syncMs)}; ${time(meshLimits.clientSyncMs)}`,
      ],
      ['share by which these waits are varied', meshLimits.jitter],
      ['neighbours compared with at a time', meshLimits.syncPeers],
      [
        'links kept; in a mesh of more members than',
        `${meshLimits.chosenNeighbours}; ${meshLimits.neighbours}`,
      ],
      ['time between beats; until silence', `${time(beatLimits.beatMs)}; ${time(beatLimits.silentMs)}`],
      ['nonce', bytes(beatLimits.nonceBytes)],
      ['loads of one beat', beatLimits.loads],
      ['beats of one neighbour that are answered', `${beatLimits.answersPerSecond} a second`],
      [
        'members asked about a silent one; time for it; time until the next',
        `${beatLimits.helpers}; ${time(beatLimits.probeMs)}; ${time(beatLimits.reprobeMs)}`,
      ],
      ['verdicts are held back by up to', time(beatLimits.staggerMs)],
      [
        'probes of one member that are followed in that time; of all at once',
        `${beatLimits.probes}; ${beatLimits.probesInAll}`,
      ],
      [
        'neighbours beaten in a larger mesh; and for so long who was sent a request',
        `${beatLimits.neighbours}; ${time(beatLimits.routedMs)}`,
      ],
      ['time for admission', time(meshLimits.admissionMs)],
      ['time for a refusal to be read', time(meshLimits.refusalMs)],
      ['false items before a link is closed', meshLimits.strikes],
      ['message of join or gossip', bytes(meshMessageLimits.messageBytes)],
      ['the same, before admission', bytes(pipeLimits.strangerMessageBytes)],
      ['envelopes of one items', meshMessageLimits.items],
      ['entries of one entries', meshMessageLimits.entries],
      ['keys of one want', meshMessageLimits.want],
      ['peers of one admitted', meshMessageLimits.peers],
      ['text of a refusal', bytes(meshMessageLimits.textBytes)],
      ['streams of join, of gossip, and of heartbeat', perPeer(pipeLimits.streamsPerPeer)],
      ['gossip waits for admission', time(pipeLimits.whenUpMs)],
      ['models and pairs whose demand a node tells', `${demandLimits.models}; ${demandLimits.pairs}`],
      [
        'peers that gossipsub passes on to; fewest; most; told of what there is',
        `${gossipsubLimits.degree.wanted}; ${gossipsubLimits.degree.fewest}; ${gossipsubLimits.degree.most}; ${gossipsubLimits.told}`,
      ],
      ['RPC of gossipsub', bytes(gossipsubLimits.rpcBytes)],
      [
        'envelopes of one RPC; message ids',
        `${gossipsubLimits.rpcEnvelopes}; ${gossipsubLimits.rpcMessageIds}`,
      ],
      [
        'new broadcasts of one peer, at once; for ever',
        `${gossipsubLimits.envelopesAtOnce}; ${gossipsubLimits.envelopesPerSecond} a second`,
      ],
      ['bytes of one measure; time', `${bytes(measureLimits.servedBytes)}; ${time(measureLimits.servedMs)}`],
      ['streams of measure', perPeer(measureLimits.streamsPerPeer)],
      ['time to prove a key', time(netLimits.upgradeMs)],
      ['time to name a protocol', time(netLimits.negotiationMs)],
      ['time to become a member', time(netLimits.unadmittedMs)],
      ['connections; of one peer', `${netLimits.connections}; ${netLimits.linksPerPeer}`],
      ['inbound connections of strangers', netLimits.strangers],
      ['fresh inbound connections of one host', `${netLimits.inboundPerSecond} a second`],
      ['streams of a stranger on one connection', netLimits.unadmittedStreams],
      ['bytes of a stranger that nobody reads', bytes(netLimits.unadmittedBytes)],
      [
        'window of a stream, yamux and QUIC',
        `${bytes(netLimits.windowBytes)}; ${bytes(quicLimits.streamWindowBytes)}`,
      ],
      ['window of a QUIC connection', bytes(quicLimits.connectionWindowBytes)],
      ['streams of one connection, yamux and QUIC', `${netLimits.streams}; ${quicLimits.inboundStreams}`],
      ['silence that ends a QUIC connection', time(quicLimits.idleMs)],
    ],
  );
}

function vectorText(): string {
  const { keys, meshId, envelopes, tokens } = trustVectors();
  const founder = vectorNamed(keys, 'founder');
  const accepts = vectorNamed(envelopes, 'the admin accepts');
  const token = vectorNamed(tokens, 'an invite of the mesh key');
  const key = new Uint8Array(16).fill(1);
  const digest = new ItemDigest();
  digest.set(key, 2, 3);
  return block([
    ['seed of a node', hex(founder.seed)],
    ['public key', hex(founder.publicKey)],
    ['peer id', founder.peerId],
    ['', ''],
    ['mesh', meshId],
    ['acceptance, payload', hex(accepts.payload)],
    ['signed', hex(accepts.signed)],
    ['envelope', hex(accepts.bytes)],
    ['', ''],
    ['token', token.text],
    ['', ''],
    ['digest of one item', `key ${hex(key)}, epoch 2, sequence 3`],
    ['bucket 1', hex(digest.buckets().subarray(8, 16))],
    ['root', hex(digest.root())],
  ]);
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

function block(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  const lines = rows.map(([name, value]) => `${name.padEnd(width)}${value}`.trimEnd());
  return ['```', ...lines, '```'].join('\n');
}

function hex(content: Uint8Array): string {
  return Buffer.from(content).toString('hex');
}

function bytes(count: number): string {
  return inUnits(count, [
    [2 ** 20, 'MiB'],
    [2 ** 10, 'KiB'],
    [1, 'bytes'],
  ]);
}

function time(ms: number): string {
  return inUnits(ms, [
    [24 * 60 * 60_000, 'days'],
    [60_000, 'minutes'],
    [1_000, 's'],
    [1, 'ms'],
  ]);
}

/** In the largest unit that it fills without a rest. */
function inUnits(amount: number, units: readonly (readonly [size: number, name: string])[]): string {
  const [size, name] = units.find(([unit]) => amount >= unit && amount % unit === 0) ?? [1, ''];
  return `${amount / size} ${name}`.trim();
}
