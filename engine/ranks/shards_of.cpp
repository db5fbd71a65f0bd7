#include "engine/ranks/shards_of.h"

namespace koine {

Shards shards_of(const ParameterTable& table, Communicator& communicator, bool gradients) {
  Shards shards;
  shards.gradients = gradients;
  shards.ranges = cut_into_shards(table, communicator.size());
  shards.own = communicator.rank();
  shards.broadcast = [&communicator](DType type, void* values, std::int64_t count, int root, void* stream) {
    communicator.broadcast(type, values, count, root, stream);
  };
  shards.all_reduce = [&communicator](DType type, void* values, std::int64_t count, void* stream) {
    communicator.all_reduce(type, values, count, stream);
  };
  return shards;
}

}  // namespace koine
