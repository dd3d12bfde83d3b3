// The protobuf messages of what a mesh signs, by short names, out of the generated code.
import './plain-integers.ts';
import { meshnode } from './generated/trust.js';

export const { Envelope, Grant, Acceptance, Issue, Certificate, Use, Revocation, Token, Role } =
  meshnode.trust.v1;

/** What the encoder takes and the decoder gives: fields that were not sent read as null or their type's zero. */
export type EnvelopeMessage = meshnode.trust.v1.Envelope.$Properties;
export type CertificateMessage = meshnode.trust.v1.Certificate.$Properties;
