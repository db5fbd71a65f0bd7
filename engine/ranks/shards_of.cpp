#include "engine/ranks/shards_of.h"

namespace koine {

Shards shards_of(const ParameterTable& table, Communicator& communicator) {
  Shards shards;
  shards.ranges = cut_into_shards(table, communicator.size());
  shards.own = communicator.rank();
  shards.broadcast = [&communicator](DType type, void* values, std::int64_t count, int root, void* stream) {
    communicator.broadcast(type, values, count, root, stream);
  };
  return shards;
}

}  // namespace koine
