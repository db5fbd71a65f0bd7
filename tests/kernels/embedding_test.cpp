#include "kernels/embedding/embedding.h"

#include <map>

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Case;
using testing::fp32_error;
using testing::random_values;

// The tokens of `keys` grouped, and the arrays a TokenOrder points to.
struct Groups {
  explicit Groups(const std::vector<std::int32_t>& token_keys) {
    std::map<std::int32_t, std::vector<std::int32_t>> places;
    for (std::size_t t = 0; t < token_keys.size(); ++t) places[token_keys[t]].push_back(static_cast<std::int32_t>(t));
    for (const auto& [key, list] : places) {
      keys.push_back(key);
      starts.push_back(static_cast<std::int32_t>(tokens.size()));
      tokens.insert(tokens.end(), list.begin(), list.end());
    }
    starts.push_back(static_cast<std::int32_t>(tokens.size()));
  }
  TokenOrder order() const { return {static_cast<std::int64_t>(keys.size()), keys.data(), starts.data(), tokens.data()}; }
  std::vector<std::int32_t> keys;
  std::vector<std::int32_t> starts;
  std::vector<std::int32_t> tokens;
};

constexpr std::int64_t kVocabulary = 90;
constexpr std::int64_t kPositions = 20;

struct Batch {
  explicit Batch(std::int64_t tokens) {
    testing::TestRandom random(11);
    for (std::int64_t t = 0; t < tokens; ++t) {
      ids.push_back(t % 3 == 0 ? 2 : static_cast<std::int32_t>(random.below(kVocabulary)));  // one id is frequent
      positions.push_back(static_cast<std::int32_t>(2 + t % (kPositions - 2)));
    }
  }
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
};

Case<EmbeddingForwardArguments> forward_case(const Batch& batch, std::int64_t width) {
  const auto tokens = static_cast<std::int64_t>(batch.ids.size());
  Case<EmbeddingForwardArguments> test_case(concatenate("[", tokens, ", ", width, "]"));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.tokens = tokens;
  test_case.arguments.width = width;
  test_case.arguments.vocabulary = kVocabulary;
  test_case.arguments.positions = kPositions;
  test_case.arguments.ids = batch.ids.data();
  test_case.arguments.position_ids = batch.positions.data();
  test_case.array(batch.ids);
  test_case.array(batch.positions);
  test_case.input("word", random_values(kVocabulary * width, 1), [](auto& a, void* data) { a.word = data; });
  test_case.input("position", random_values(kPositions * width, 2), [](auto& a, void* data) { a.position = data; });
  test_case.input("token_type", random_values(width, 3), [](auto& a, void* data) { a.token_type = data; });
  test_case.output("output", tokens * width, [](auto& a, void* data) { a.output = data; }).accumulation = fp32_error(1, 4);
  return test_case;
}

// `padding` tokens more than the orders list.
Case<EmbeddingBackwardArguments> backward_case(const Groups& by_id, const Groups& by_position, std::int64_t width,
                                               std::int64_t padding = 0) {
  const std::int64_t tokens = by_id.starts.back() + padding;
  Case<EmbeddingBackwardArguments> test_case(concatenate("[", tokens, ", ", width, "]"));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.tokens = tokens;
  test_case.arguments.width = width;
  test_case.arguments.by_id = by_id.order();
  test_case.arguments.by_position = by_position.order();
  for (const Groups* groups : {&by_id, &by_position}) {
    test_case.array(groups->keys);
    test_case.array(groups->starts);
    test_case.array(groups->tokens);
  }
  test_case.input("d_output", random_values(tokens * width, 1), [](auto& a, void* data) { a.d_output = data; });
  // Sums of up to `tokens` numbers of size 1 one after the other: a random walk of roundings of their sum.
  const double n = std::max(1.0, static_cast<double>(tokens));
  const double error = fp32_error(4 + 2 * std::sqrt(n), std::sqrt(n));
  test_case
      .in_out_fp32("d_word", random_values(kVocabulary * width, 2),
                   [](auto& a, void* data) { a.d_word = static_cast<float*>(data); })
      .accumulation = error;
  test_case
      .in_out_fp32("d_position", random_values(kPositions * width, 3),
                   [](auto& a, void* data) { a.d_position = static_cast<float*>(data); })
      .accumulation = error;
  test_case
      .in_out_fp32("d_token_type", random_values(width, 4),
                   [](auto& a, void* data) { a.d_token_type = static_cast<float*>(data); })
      .accumulation = error;
  return test_case;
}

TEST(Embedding, Variants) {
  for (const std::int64_t tokens : {0, 1, 5, 200}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000}) {
      const Batch batch(tokens);
      const Groups by_id(batch.ids);
      const Groups by_position(batch.positions);
      check_variants(forward_case(batch, width));
      check_variants(backward_case(by_id, by_position, width));
    }
  }
}

// Groups around the 64 tokens of a piece of the CUDA variant, one behind the other, so that they begin at all places of the
// list: several begin between two multiples of 64, a long one begins on a multiple, and one fills many pieces.
TEST(Embedding, GroupsOfAllLengths) {
  std::vector<std::int32_t> ids, positions;
  std::int32_t id = 0;
  for (const std::int64_t length : {1, 63, 64, 65, 127, 128, 129, 2, 191, 61, 65, 66, 192, 62, 66, 64, 700, 1, 3}) {
    ids.insert(ids.end(), static_cast<std::size_t>(length), id++);
  }
  // Spread over the batch, so that a group's tokens do not lie side by side.
  testing::TestRandom random(3);
  for (std::size_t t = ids.size() - 1; t > 0; --t) {
    std::swap(ids[t], ids[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(t) + 1))]);
  }
  for (std::size_t t = 0; t < ids.size(); ++t) positions.push_back(t % 2 == 0 ? 3 : static_cast<std::int32_t>(4 + t % 16));
  const Groups by_id(ids);
  const Groups by_position(positions);
  for (const std::int64_t width : {8, 33}) check_variants(backward_case(by_id, by_position, width));
}

// More groups than one look of a warp tells apart, many of them empty.
TEST(Embedding, ABatchPaddedToACommonSize) {
  const Batch batch(500);
  Groups by_id(batch.ids);
  Groups by_position(batch.positions);
  for (Groups* groups : {&by_id, &by_position}) {
    const std::int32_t last = groups->starts.back();
    // Behind the keys that occur: rows that no table has, and tokens that no batch has.
    groups->keys.resize(400, 1 << 30);
    groups->starts.resize(401, last);
    groups->tokens.resize(600, 1 << 30);
  }
  for (const std::int64_t width : {5, 64}) {
    Case<EmbeddingBackwardArguments> test_case = backward_case(by_id, by_position, width, 100);
    std::vector<double>& d_output = test_case.operands[0].values;
    std::fill(d_output.begin() + 500 * width, d_output.end(), 0.0);
    check_variants(test_case);
  }
  Groups nothing({});
  nothing.keys.resize(70, 1 << 30);
  nothing.starts.resize(71, 0);
  check_variants(backward_case(nothing, nothing, 8, 70));
}

TEST(Embedding, UntouchedRowsKeepTheirBits) {
  const Batch batch(50);
  const Groups by_id(batch.ids);
  const Groups by_position(batch.positions);
  const Case<EmbeddingBackwardArguments> test_case = backward_case(by_id, by_position, 33);
  const std::vector<double>& before = test_case.operands[1].values;
  for (const auto& variant : operation<EmbeddingBackwardArguments>().variants) {
    bool available = true;
    testing::context_for(variant.device, &available);
    if (!available) continue;
    const auto outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32);
    for (std::int64_t id = 0; id < kVocabulary; ++id) {
      const bool touched = std::find(batch.ids.begin(), batch.ids.end(), id) != batch.ids.end();
      const std::int64_t place = id * 33;
      const bool same =
          outcome.value(1, place) == static_cast<double>(static_cast<float>(before[static_cast<std::size_t>(place)]));
      EXPECT_EQ(same, !touched) << variant.name << " " << id;
    }
  }
}

TEST(Embedding, GradientsAreTheDifferences) {
  const Batch batch(9);
  constexpr std::int64_t kWidth = 2;
  Case<EmbeddingForwardArguments> forward = forward_case(batch, kWidth);
  const Groups by_id(batch.ids);
  const Groups by_position(batch.positions);
  Case<EmbeddingBackwardArguments> backward = backward_case(by_id, by_position, kWidth);
  for (std::size_t i = 1; i <= 3; ++i) std::fill(backward.operands[i].values.begin(), backward.operands[i].values.end(), 0);
  const std::vector<double> coefficients = backward.operands[0].values;
  const auto gradients = testing::reference_in_double(backward);
  for (std::size_t table = 0; table < 3; ++table) {
    const std::vector<double> values = forward.operands[table].values;
    const auto loss = [&](const std::vector<double>& changed) {
      forward.operands[table].values = changed;
      return testing::dot(coefficients, testing::reference_in_double(forward).values(3));
    };
    testing::check_gradient(forward.operands[table].name, loss, values, gradients.values(table + 1));
    forward.operands[table].values = values;
  }
}

TEST(Embedding, RefusesIdsThatAreNotThere) {
  Batch batch(3);
  batch.ids[1] = kVocabulary;
  const Case<EmbeddingForwardArguments> test_case = forward_case(batch, 4);
  EXPECT_THROW(launch(test_case, choose_variant(Context{}, test_case.arguments), DType::kFloat32, DType::kFloat32), Error);
}

}  // namespace
}  // namespace koine
