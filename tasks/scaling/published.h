#pragma once

// The simulation held against what others measured and published: what it says of each point, and the error it makes.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tasks/scaling/step.h"

namespace koine {

/// All-reduces of one number of devices.
struct PublishedCollective {
  std::string name;
  std::string source;
  std::string assumed;
  std::string device_kind;
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::kRing;
  std::int64_t devices = 0;
  std::vector<double> bytes;
  std::vector<double> seconds;    ///< published, for each of bytes
  std::vector<double> simulated;  ///< by another simulator that was held against the same; may be empty
};

/// A training on several numbers of devices. Of one of them, the base, the time that compute takes is deduced by the simulation (the one with which
/// that run's step takes what was published); the others are predicted.
struct PublishedTraining {
  std::string name;
  std::string source;
  std::string assumed;
  std::string device_kind;
  std::int64_t layers = 0;
  double layer_parameters = 0;
  double embedding_parameters = 0;
  double gradient_bytes = 2;
  double weight_bytes = 2;
  double update_bytes = 0;  ///< of memory for each parameter
  bool sharded = false;
  std::int64_t bucket_elements = kBucketElements;
  struct Run {
    std::int64_t devices = 0;
    std::int64_t micro_batches = 1;
    double work = 0;     ///< of a device in a micro-batch: samples, or tokens
    double seconds = 0;  ///< of a step, published
  };
  Run base;
  std::vector<Run> runs;
};

struct PublishedPoints {
  std::vector<PublishedCollective> collectives;
  std::vector<PublishedTraining> trainings;
};

/// UserError naming file and key.
PublishedPoints read_published_points(const std::filesystem::path& file);

/// A published figure beside the simulation's.
struct HeldAgainst {
  std::int64_t devices = 0;
  double bytes = 0;                 ///< of an all-reduce; 0: of a training's step
  double published = 0;             ///< seconds
  double predicted = 0;             ///< seconds
  double published_efficiency = 0;  ///< of a training: work a second and device, against the base
  double predicted_efficiency = 0;
  double other_error = 0;  ///< of the other simulator: its seconds / published - 1; 0: there is none

  double error() const { return predicted / published - 1; }
};
std::vector<HeldAgainst> hold_against(const PublishedCollective& point);
/// UserError where the base's step is shorter than its communication.
std::vector<HeldAgainst> hold_against(const PublishedTraining& point);

/// All of them in Markdown: two tables, and of each point its source and what is assumed.
std::string published_page(const PublishedPoints& points);

}  // namespace koine
