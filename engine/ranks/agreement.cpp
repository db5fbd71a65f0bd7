#include "engine/ranks/agreement.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "kernels/common/check.h"

namespace koine {

namespace {

/// "learning_rate is 0.1 there and 0.2 at rank 0"; "" where all is the same.
std::string first_difference(const std::map<std::string, std::string>& own,
                             const std::map<std::string, std::string>& first) {
  const auto value = [](const std::map<std::string, std::string>& facts, const std::string& name) {
    const auto found = facts.find(name);
    return found == facts.end() ? std::string("not set") : found->second;
  };
  std::map<std::string, std::string> names = own;
  names.insert(first.begin(), first.end());
  for (const auto& [name, unused] : names) {
    if (value(own, name) != value(first, name))
      return concatenate(name, " is ", value(own, name), " there and ", value(first, name), " at rank 0");
  }
  return "";
}

std::string text_of_facts(const std::map<std::string, std::string>& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += name + '\0' + value + '\0';
  return text;
}

std::map<std::string, std::string> facts_of_text(const std::string& text) {
  std::map<std::string, std::string> facts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t middle = text.find('\0', at);
    const std::size_t end = text.find('\0', middle + 1);
    facts[text.substr(at, middle - at)] = text.substr(middle + 1, end - middle - 1);
    at = end + 1;
  }
  return facts;
}

}  // namespace

void require_same_on_all_ranks(Communicator& communicator, const std::map<std::string, std::string>& facts) {
  const std::string difference = first_difference(facts, facts_of_text(communicator.share(text_of_facts(facts), 0)));
  std::vector<std::int64_t> differs(static_cast<std::size_t>(communicator.size()));
  differs[static_cast<std::size_t>(communicator.rank())] = difference.empty() ? 0 : 1;
  communicator.sum(differs);
  for (int rank = 0; rank < communicator.size(); ++rank) {
    if (differs[static_cast<std::size_t>(rank)] == 0) continue;
    const std::string told = communicator.share(difference, rank);
    communicator.barrier();  // nobody is gone before all know
    throw Error(concatenate("rank ", rank, " does not agree with rank 0: ", told));
  }
}

std::string text_of_numbers(const std::map<std::string, double>& numbers) {
  std::string text;
  for (const auto& [name, value] : numbers) {
    char bits[40];
    std::snprintf(bits, sizeof bits, "%a ", value);
    text += bits + name + '\n';
  }
  return text;
}

std::map<std::string, double> numbers_of_text(const std::string& text) {
  std::map<std::string, double> numbers;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t space = line.find(' ');
    numbers[line.substr(space + 1)] = std::strtod(line.c_str(), nullptr);
  }
  return numbers;
}

}  // namespace koine
