// Limits: Keys, certificates and what is signed.
import { KiB, MiB } from './units.ts';

const dayMs = 24 * 60 * 60_000;

/** Who belongs to the mesh: envelopes, certificates, invites and what is remembered of them. */
export const trustLimits = {
  /** Largest envelope of any kind, bytes: a record of a node with many models; others are far smaller. */
  envelopeBytes: 64 * KiB,
  /** Largest certificate, bytes. The longest, two invites deep, takes about 900. */
  certificateBytes: 2 * KiB,
  /** Largest envelope of a use or a revocation, bytes: two certificates, or one and a full keep list. */
  proofBytes: 12 * KiB,
  /** Differences between two clocks that are put up with. */
  clockToleranceMs: 5 * 60_000,
  /** Longest life of a certificate. */
  certificateLifeMs: 90 * dayMs,
  /** A certificate with less than this ahead is due for renewal: from day 30 of a full life. */
  renewalLeftMs: 60 * dayMs,
  /** A renewal that gives less than this is not worth a new record. */
  renewalGainMs: dayMs,
  /** A certificate with less than this ahead is warned about. */
  warningLeftMs: 14 * dayMs,
  /** Longest life of an invite: as a certificate's. */
  inviteLifeMs: 90 * dayMs,
  /** Most peers that one invite may admit. */
  inviteUses: 1_000,
  /** Largest token, bytes before base64: eight of the longest addresses, a grant and a certificate. */
  tokenBytes: 4 * KiB,
  /** Bootstrap addresses of one token. */
  tokenAddresses: 8,
  /** Characters of one address: a DNS name of 253 and what is around it. */
  addressLength: 384,
  /** Revocations that one revocation of their signer may keep in force. */
  keptRevocations: 256,
  /** Verified certificates remembered: one per member arrives with every record. */
  cachedCertificates: 4_096,
  /** Revocations held. */
  revocations: 4_096,
  /** Uses held of one invite beyond one by each rank for each seat, so that overspending settles alike everywhere. */
  spareUses: 64,
  /** Uses held in all, of about 2 KiB each. */
  uses: 16_384,
  /** Bytes of the uses and revocations that a node remembers when it ends: all uses there can be, as a rule. */
  rememberedBytes: 40 * MiB,
  /** Uses and revocations handed over in support of one certificate. */
  proofs: 64,
  /** Bytes of those: with the certificate less than pipeLimits.strangerMessageBytes. */
  proofsBytes: 48 * KiB,
  /** Characters of an exported mesh key: the armour of about 400 bytes. */
  meshKeyTextLength: 4 * KiB,
} as const;
