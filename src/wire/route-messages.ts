// The protobuf messages of `/meshnode/route/1` by short names, out of the generated code.
import './plain-integers.ts';
import { meshnode } from './generated/route.js';

export const { RouteQuestion, RouteAnswer } = meshnode.route.v1;

/** What the encoder takes and the decoder gives: fields that were not sent read as null or their type's zero. */
export type RouteAnswerMessage = meshnode.route.v1.RouteAnswer.$Properties;
export type RoutedModelMessage = meshnode.route.v1.RoutedModel.$Properties;
export type RoutedReplicaMessage = meshnode.route.v1.RoutedReplica.$Properties;
