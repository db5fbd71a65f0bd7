#include "kernels/topk/topk_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

Case<TopKArguments> make_case(std::int64_t queries, std::int64_t candidates, std::int64_t width, std::int64_t k,
                              std::vector<double> query_values, std::vector<double> candidate_values) {
  Case<TopKArguments> test_case =
      top_k_case(queries, candidates, width, k, std::move(query_values), std::move(candidate_values));
  for (const char* result : {"indices", "scores"}) test_case.operand(result).exact = true;
  return test_case;
}

// Numbers from -3 to 3: every product and sum is exact in fp32, and equal scores are common.
std::vector<double> small_integers(std::int64_t count, std::uint64_t seed) {
  TestRandom random(seed);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = static_cast<double>(random.below(7)) - 3;
  return values;
}

void check_exactly(std::int64_t queries, std::int64_t candidates, std::int64_t width, std::int64_t k) {
  check_variants(
      make_case(queries, candidates, width, k, small_integers(queries * width, 1), small_integers(candidates * width, 2)));
}

TEST(TopK, SmallSearches) {
  check_exactly(0, 3, 4, 1);
  check_exactly(1, 1, 1, 1);
  check_exactly(7, 20, 5, 1);
  check_exactly(3, 20, 5, 20);
  check_exactly(33, 100, 17, 10);
}
TEST(TopK, SeveralBlocks) {
  check_exactly(515, 60, 3, 4);
  check_exactly(5, 2048, 4, 3);
  check_exactly(5, 2049, 4, 3);
  check_exactly(3, 5000, 4, 2500);  // the first k reach into the second block
}

// The most the CUDA variant keeps, by several of its tiles, where nearly every candidate is better than those before, and
// where none is.
TEST(TopK, CandidatesInOrderOfTheirScores) {
  std::vector<double> ascending(700), descending(700);
  for (std::size_t i = 0; i < 700; ++i) {
    ascending[i] = static_cast<double>(i / 2);
    descending[i] = -ascending[i];
  }
  check_variants(make_case(1, 700, 1, 32, {1}, ascending));
  check_variants(make_case(1, 700, 1, 32, {1}, descending));
}

void for_each_variant(const TopKArguments& arguments, const std::function<void(const Variant<TopKArguments>&)>& body) {
  for (const Variant<TopKArguments>& variant : operation<TopKArguments>().variants) {
    bool available = true;
    const Context context = context_for(variant.device, &available);
    if (available && usable(variant, context, arguments) && variant.name != kReference) body(variant);
  }
}

TEST(TopK, EqualScoresComeInOrderOfTheirIndex) {
  const std::int64_t candidates = 4100, k = 7;
  const Case<TopKArguments> test_case =
      make_case(2, candidates, 2, k, {1, 1, 2, 0}, std::vector<double>(static_cast<std::size_t>(2 * candidates), 1.0));
  for_each_variant(test_case.arguments, [&](const Variant<TopKArguments>& variant) {
    const Outcome outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32);
    const auto* indices = static_cast<const std::int32_t*>(outcome.buffers[2].data());
    for (std::int64_t i = 0; i < 2 * k; ++i) {
      EXPECT_EQ(indices[i], i % k) << variant.name;
      EXPECT_EQ(outcome.value(3, i), 2) << variant.name;
    }
  });
}

// So many candidates that a block of the CUDA variant goes through several tiles, and the last one has a candidate.
TEST(TopK, ManyCandidates) {
  const std::int64_t queries = 3, candidates = 2048 * 128 + 1, k = 3;
  Case<TopKArguments> test_case = make_case(queries, candidates, 1, k, {1, -1, 2}, small_integers(candidates, 2));
  test_case.operands[1].values[200] = test_case.operands[1].values[90'000] = 5;
  test_case.operands[1].values.back() = -7;
  for_each_variant(test_case.arguments, [&](const Variant<TopKArguments>& variant) {
    const Outcome outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32);
    const auto* indices = static_cast<const std::int32_t*>(outcome.buffers[2].data());
    const std::vector<double>& values = test_case.operands[1].values;
    const auto first_of = [&](double value) {
      return static_cast<std::int32_t>(std::find(values.begin(), values.end(), value) - values.begin());
    };
    const std::int32_t three = first_of(3), minus_three = first_of(-3);
    const auto next_of = [&](double value, std::int32_t after) {
      return static_cast<std::int32_t>(std::find(values.begin() + after + 1, values.end(), value) - values.begin());
    };
    const std::vector<std::int32_t> expected = {
        200, 90'000, three, static_cast<std::int32_t>(candidates - 1), minus_three, next_of(-3, minus_three),
        200, 90'000, three};
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(indices[i], expected[i]) << variant.name << " " << i;
    EXPECT_EQ(outcome.value(3, 3), 7) << variant.name;
    EXPECT_EQ(outcome.value(3, 8), 6) << variant.name;
  });
}

TEST(TopK, ScoresThatAreNoNumbersComeLast) {
  check_variants(make_case(1, 6, 1, 6, {1}, {NAN, 2, -INFINITY, 5, NAN, INFINITY}));
  std::vector<double> candidates(300, NAN);  // all but one
  candidates[170] = -3;
  check_variants(make_case(1, 300, 1, 20, {1}, candidates));
}

// Real numbers: the scores agree rank by rank (sorting moves no score by more than the largest error), and each is the score
// of the index beside it.
TEST(TopK, RealNumbers) {
  const std::int64_t queries = 40, candidates = 3000, width = 96, k = 5;
  const Case<TopKArguments> test_case =
      make_case(queries, candidates, width, k, random_values(queries * width, 1), random_values(candidates * width, 2));
  const Outcome expected = launch(test_case, reference_variant<TopKArguments>(), DType::kFloat32, DType::kFloat32);
  // A chain of 96 FMAs over partial sums of at most 64, errors of either sign: six times the root of their number.
  const double allowed = fp32_error(6 * std::sqrt(96.0), 64);
  for_each_variant(test_case.arguments, [&](const Variant<TopKArguments>& variant) {
    const Outcome outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32);
    const auto* indices = static_cast<const std::int32_t*>(outcome.buffers[2].data());
    for (std::int64_t i = 0; i < queries * k; ++i) {
      double score = 0;
      for (std::int64_t c = 0; c < width; ++c)
        score += outcome.value(0, i / k * width + c) * outcome.value(1, indices[i] * width + c);
      EXPECT_NEAR(outcome.value(3, i), score, allowed) << variant.name;
      EXPECT_NEAR(outcome.value(3, i), expected.value(3, i), allowed) << variant.name;
    }
  });
}

// A pair's score is the same bits whatever other queries and candidates there are.
TEST(TopK, AScoreDoesNotDependOnWhatIsBesideIt) {
  const std::int64_t candidates = 140, width = 37;
  const std::vector<double> query_values = random_values(70 * width, 3),
                            candidate_values = random_values(candidates * width, 4);
  const std::vector<double> last_query(query_values.end() - width, query_values.end());
  const std::vector<double> last_candidate(candidate_values.end() - width, candidate_values.end());
  const Case<TopKArguments> many = make_case(70, candidates, width, 32, query_values, candidate_values);
  const Case<TopKArguments> one = make_case(1, 1, width, 1, last_query, last_candidate);
  for_each_variant(many.arguments, [&](const Variant<TopKArguments>& variant) {
    if (variant.device != Device::kCuda) return;
    const double alone = launch(one, variant, DType::kFloat32, DType::kFloat32).value(3, 0);
    // Only the last candidate's place in the list is not known.
    Case<TopKArguments> raised = many;
    for (std::int64_t c = 0; c + 1 < candidates; ++c) {
      for (std::int64_t i = 0; i < width; ++i)
        raised.operands[1].values[static_cast<std::size_t>(c * width + i)] = -INFINITY;
    }
    EXPECT_EQ(launch(raised, variant, DType::kFloat32, DType::kFloat32).value(3, 69 * 32), alone);
  });
}

Case<TwoWayTopKArguments> two_way_case(std::int64_t queries, std::int64_t candidates, std::int64_t width, std::int64_t k,
                                       std::int64_t back_k) {
  return top_k_two_way_case(queries, candidates, width, k, back_k, small_integers(queries * width, 1),
                            small_integers(candidates * width, 2));
}

// k up to all; equal scores are common.
TEST(TopKTwoWay, SmallSearches) {
  for (Case<TwoWayTopKArguments> test_case :
       {two_way_case(1, 1, 1, 1, 1), two_way_case(7, 20, 5, 1, 7), two_way_case(3, 20, 5, 20, 1)}) {
    for (const char* result : {"indices", "scores", "back indices", "back scores"}) test_case.operand(result).exact = true;
    check_variants(test_case);
  }
}

const Variant<TwoWayTopKArguments>& two_way_cpu() {
  for (const Variant<TwoWayTopKArguments>& variant : operation<TwoWayTopKArguments>().variants) {
    if (variant.name == "cpu") return variant;
  }
  throw Error("there is no variant for the CPU");
}

// Borders of the CPU variant's blocks (512 queries, 2048 candidates) and stripes (256 candidates).
TEST(TopKTwoWay, SeveralBlocks) {
  for (const auto& test_case : {two_way_case(33, 300, 7, 10, 4), two_way_case(1030, 5, 3, 4, 3),
                                two_way_case(515, 2050, 4, 3, 5), two_way_case(520, 2, 4, 1, 515)}) {
    const Outcome expected = launch(test_case, reference_variant<TwoWayTopKArguments>(), DType::kFloat32, DType::kFloat32);
    const Outcome found = launch(test_case, two_way_cpu(), DType::kFloat32, DType::kFloat32);
    for (const std::size_t operand : {2u, 3u, 4u, 5u}) EXPECT_EQ(found.values(operand), expected.values(operand)) << operand;
  }
}

TEST(TopKTwoWay, ScoresThatAreNoNumbersComeLast) {
  const auto test_case = top_k_two_way_case(3, 3, 1, 3, 3, std::vector<double>{NAN, 1, 2}, std::vector<double>{3, NAN, 5});
  const Outcome expected = launch(test_case, reference_variant<TwoWayTopKArguments>(), DType::kFloat32, DType::kFloat32);
  const Outcome found = launch(test_case, two_way_cpu(), DType::kFloat32, DType::kFloat32);
  for (const std::size_t operand : {2u, 3u, 4u, 5u}) EXPECT_EQ(found.values(operand), expected.values(operand)) << operand;
}

// From one product or from two, a pair's score is the same bits.
TEST(TopKTwoWay, GivesTheBitsOfTwoSearches) {
  const std::int64_t queries = 600, candidates = 2100, width = 96, k = 4;
  const std::vector<double> left = random_values(queries * width, 1), right = random_values(candidates * width, 2);
  const Case<TwoWayTopKArguments> both = top_k_two_way_case(queries, candidates, width, k, k, left, right);
  const Variant<TopKArguments>& one_way = operation<TopKArguments>().variants[1];
  const Outcome found = launch(both, two_way_cpu(), DType::kFloat32, DType::kFloat32);
  const Outcome forth =
      launch(make_case(queries, candidates, width, k, left, right), one_way, DType::kFloat32, DType::kFloat32);
  const Outcome back =
      launch(make_case(candidates, queries, width, k, right, left), one_way, DType::kFloat32, DType::kFloat32);
  for (const std::size_t operand : {2u, 3u}) {
    EXPECT_EQ(found.values(operand), forth.values(operand));
    EXPECT_EQ(found.values(operand + 2), back.values(operand));
  }
}

// The header's bound, at the size of BUCC's largest pair: the product itself would be 149 GiB.
TEST(TopKTwoWay, MemoryIsOneBlockOfScoresAndTheNeighbours) {
  TwoWayTopKArguments arguments;
  arguments.queries_count = arguments.candidates_count = 200'000;
  arguments.width = 1024, arguments.k = arguments.back_k = 4;
  const std::size_t neighbours = 200'000 * (8 * 4 + 4);
  const std::size_t product = 16u << 20;  // both operands of a block, packed: 512 and 2048 rows of 4 KiB, and some
  EXPECT_LE(two_way_cpu().workspace_bytes(arguments), (4u << 20) + neighbours + product);
}

TEST(TopKTwoWay, SaysWhichShapeIsWrong) {
  const auto test_case = top_k_two_way_case(1, 3, 1, 3, 2, std::vector<double>{1}, std::vector<double>{1, 2, 3});
  try {
    launch(test_case, reference_variant<TwoWayTopKArguments>(), DType::kFloat32, DType::kFloat32);
    ADD_FAILURE() << "back_k beyond the queries was accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("k is 2 of 1 candidates"), std::string::npos) << error.what();
  }
}

TEST(TopK, SaysWhichShapeIsWrong) {
  const Case<TopKArguments> test_case = make_case(1, 3, 1, 4, {1}, {1, 2, 3});
  try {
    launch(test_case, reference_variant<TopKArguments>(), DType::kFloat32, DType::kFloat32);
    ADD_FAILURE() << "k beyond the candidates was accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("k is 4 of 3 candidates"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace koine::testing
