#include "kernels/embedding/embedding_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

constexpr std::int64_t kVocabulary = 90;
constexpr std::int64_t kPositions = 20;

struct EmbeddingBatch {
  explicit EmbeddingBatch(std::int64_t tokens) {
    TestRandom random(11);
    for (std::int64_t t = 0; t < tokens; ++t) {
      ids.push_back(t % 3 == 0 ? 2 : static_cast<std::int32_t>(random.below(kVocabulary)));  // one id is frequent
      positions.push_back(static_cast<std::int32_t>(2 + t % (kPositions - 2)));
    }
  }
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
};

Case<EmbeddingForwardArguments> forward_case(const EmbeddingBatch& batch, std::int64_t width) {
  Case<EmbeddingForwardArguments> test_case =
      embedding_forward_case(batch.ids, batch.positions, {kVocabulary, kPositions, width});
  test_case.operand("output").accumulation = fp32_error(1, 4);
  return test_case;
}

Case<EmbeddingBackwardArguments> backward_case(const TokenGroups& by_id, const TokenGroups& by_position, std::int64_t width,
                                               std::int64_t padding = 0) {
  Case<EmbeddingBackwardArguments> test_case =
      embedding_backward_case(by_id, by_position, {kVocabulary, kPositions, width}, padding);
  // Sums of up to `tokens` numbers of size 1 one after the other: a random walk of roundings of their sum.
  const double n = std::max(1.0, static_cast<double>(test_case.arguments.tokens));
  for (const char* table : {"d_word", "d_position", "d_token_type"}) {
    test_case.operand(table).accumulation = fp32_error(4 + 2 * std::sqrt(n), std::sqrt(n));
  }
  return test_case;
}

TEST(Embedding, Variants) {
  for (const std::int64_t tokens : {0, 1, 5, 200}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000}) {
      const EmbeddingBatch batch(tokens);
      const TokenGroups by_id(batch.ids);
      const TokenGroups by_position(batch.positions);
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
  TestRandom random(3);
  for (std::size_t t = ids.size() - 1; t > 0; --t) {
    std::swap(ids[t], ids[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(t) + 1))]);
  }
  for (std::size_t t = 0; t < ids.size(); ++t) positions.push_back(t % 2 == 0 ? 3 : static_cast<std::int32_t>(4 + t % 16));
  const TokenGroups by_id(ids);
  const TokenGroups by_position(positions);
  for (const std::int64_t width : {8, 33}) check_variants(backward_case(by_id, by_position, width));
}

// More groups than one look of a warp tells apart, many of them empty.
TEST(Embedding, ABatchPaddedToACommonSize) {
  const EmbeddingBatch batch(500);
  TokenGroups by_id(batch.ids);
  TokenGroups by_position(batch.positions);
  for (TokenGroups* groups : {&by_id, &by_position}) {
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
  TokenGroups nothing({});
  nothing.keys.resize(70, 1 << 30);
  nothing.starts.resize(71, 0);
  check_variants(backward_case(nothing, nothing, 8, 70));
}

// A model of relative positions has no other tables, and their gradients are not wanted.
TEST(Embedding, WordsAlone) {
  for (const std::int64_t tokens : {0, 5, 200}) {
    const EmbeddingBatch batch(tokens);
    Case<EmbeddingBackwardArguments> test_case = backward_case(TokenGroups(batch.ids), TokenGroups({}), 64);
    test_case.operand("d_position").bind = [](auto& to, void*) { to.d_position = nullptr; };
    test_case.operand("d_token_type").bind = [](auto& to, void*) { to.d_token_type = nullptr; };
    for (const char* table : {"d_position", "d_token_type"}) test_case.operand(table).written = false;
    check_variants(test_case);
  }
}

TEST(Embedding, UntouchedRowsKeepTheirBits) {
  const EmbeddingBatch batch(50);
  const TokenGroups by_id(batch.ids);
  const TokenGroups by_position(batch.positions);
  const Case<EmbeddingBackwardArguments> test_case = backward_case(by_id, by_position, 33);
  const std::vector<double>& before = test_case.operands[1].values;
  for (const auto& variant : operation<EmbeddingBackwardArguments>().variants) {
    bool available = true;
    context_for(variant.device, &available);
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
  const EmbeddingBatch batch(9);
  constexpr std::int64_t kWidth = 2;
  Case<EmbeddingForwardArguments> forward = forward_case(batch, kWidth);
  const TokenGroups by_id(batch.ids);
  const TokenGroups by_position(batch.positions);
  Case<EmbeddingBackwardArguments> backward = backward_case(by_id, by_position, kWidth);
  for (std::size_t i = 1; i <= 3; ++i) std::fill(backward.operands[i].values.begin(), backward.operands[i].values.end(), 0);
  const std::vector<double> coefficients = backward.operands[0].values;
  const auto gradients = reference_in_double(backward);
  for (std::size_t table = 0; table < 3; ++table) {
    const std::vector<double> values = forward.operands[table].values;
    const auto loss = [&](const std::vector<double>& changed) {
      forward.operands[table].values = changed;
      return dot(coefficients, reference_in_double(forward).values(3));
    };
    check_gradient(forward.operands[table].name, loss, values, gradients.values(table + 1));
    forward.operands[table].values = values;
  }
}

TEST(Embedding, RefusesIdsThatAreNotThere) {
  EmbeddingBatch batch(3);
  batch.ids[1] = kVocabulary;
  const Case<EmbeddingForwardArguments> test_case = forward_case(batch, 4);
  EXPECT_THROW(launch(test_case, choose_variant(Context{}, test_case.arguments), DType::kFloat32, DType::kFloat32), Error);
}

}  // namespace
}  // namespace koine::testing
