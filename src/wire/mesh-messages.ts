// The protobuf messages of records and verdicts, and of `/meshnode/join/1`, `/meshnode/gossip/1` and
// `/meshnode/heartbeat/1`, by short names, out of the generated code.
import './plain-integers.ts';
import { meshnode } from './generated/mesh.js';

export const { Message, PeerAnnouncement, Death, NodeRole, ModelState } = meshnode.mesh.v1;

/** What the encoder takes and the decoder gives: fields that were not sent read as null or their type's zero. */
export type MessageMessage = meshnode.mesh.v1.Message.$Properties;
export type PeerAnnouncementMessage = meshnode.mesh.v1.PeerAnnouncement.$Properties;
export type DeviceMessage = meshnode.mesh.v1.Device.$Properties;
export type ModelMessage = meshnode.mesh.v1.Model.$Properties;
export type DemandMessage = meshnode.mesh.v1.Demand.$Properties;
export type ServedMessage = meshnode.mesh.v1.Served.$Properties;
export type NeighbourMessage = meshnode.mesh.v1.Neighbour.$Properties;
export type LabelMessage = meshnode.mesh.v1.Label.$Properties;
export type HelloMessage = meshnode.mesh.v1.Hello.$Properties;
export type AdmittedMessage = meshnode.mesh.v1.Admitted.$Properties;
export type PeerAddressMessage = meshnode.mesh.v1.PeerAddress.$Properties;
export type RefusedMessage = meshnode.mesh.v1.Refused.$Properties;
export type DigestMessage = meshnode.mesh.v1.Digest.$Properties;
export type BucketsMessage = meshnode.mesh.v1.Buckets.$Properties;
export type EntriesMessage = meshnode.mesh.v1.Entries.$Properties;
export type EntryMessage = meshnode.mesh.v1.Entry.$Properties;
export type WantMessage = meshnode.mesh.v1.Want.$Properties;
export type ItemsMessage = meshnode.mesh.v1.Items.$Properties;
export type BeatMessage = meshnode.mesh.v1.Beat.$Properties;
export type ModelLoadMessage = meshnode.mesh.v1.ModelLoad.$Properties;
export type ProbeMessage = meshnode.mesh.v1.Probe.$Properties;
