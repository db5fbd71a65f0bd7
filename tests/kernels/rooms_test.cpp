// Includes inside kernels/ point down the list of rooms that kernels/CMakeLists.txt gives.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace koine {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// {"common/types", "common/check", "common/parallel", "random", "cuda", "common", "the operations", "operations"}
std::vector<std::string> rooms() {
  const std::string text = text_of(KOINE_SOURCE_DIR "/kernels/CMakeLists.txt");
  std::smatch line;
  if (!std::regex_search(text, line, std::regex("# rooms: (.*)"))) return {};
  std::vector<std::string> result;
  const std::string list = std::regex_replace(line[1].str(), std::regex(" \\([^)]*\\)"), "");
  const std::regex name("[^,]+");
  for (std::sregex_iterator at(list.begin(), list.end(), name), end; at != end; ++at) {
    result.push_back(std::regex_replace(at->str(), std::regex("^ +"), ""));
  }
  return result;
}

/// The room of a path below kernels/: the file without its ending where the list names it, else its folder.
std::string room_of(const std::string& path, const std::vector<std::string>& order) {
  const std::string file = path.substr(0, path.rfind('.'));
  if (std::find(order.begin(), order.end(), file) != order.end()) return file;
  return path.substr(0, path.find('/'));
}

TEST(Rooms, NoIncludePointsUp) {
  const std::vector<std::string> order = rooms();
  ASSERT_EQ(order.size(), 8u) << "kernels/CMakeLists.txt names the rooms in a line that begins with \"# rooms: \"";
  const auto place = [&](const std::string& room) {
    const auto named = std::find(order.begin(), order.end(), room);
    return named != order.end() ? named - order.begin()
                                : std::find(order.begin(), order.end(), "the operations") - order.begin();
  };
  std::map<std::string, std::set<std::string>> uses;  // of operations among themselves
  int includes = 0;
  const std::filesystem::path top = KOINE_SOURCE_DIR "/kernels";
  const std::regex include("#\\s*include \"([^\"]+)\"");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
    const std::string extension = entry.path().extension();
    if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
    const std::string from = std::filesystem::relative(entry.path(), top);
    const std::string text = text_of(entry.path());
    for (std::sregex_iterator at(text.begin(), text.end(), include), end; at != end; ++at) {
      const std::string to = (*at)[1];
      ASSERT_TRUE(to.starts_with("kernels/")) << from << " includes " << to;
      const std::string own = room_of(from, order), other = room_of(to.substr(8), order);
      ++includes;
      EXPECT_LE(place(other), place(own)) << from << " includes " << to;
      if (own != other && place(own) == place(other)) uses[own].insert(other);
    }
  }
  EXPECT_GT(includes, 300);

  // Operations that use nothing which is still there are taken away until none is left, or a circle is.
  std::set<std::string> left;
  for (const auto& [room, others] : uses) left.insert(room);
  for (bool taken = true; taken;) {
    taken = false;
    for (const auto& [room, others] : uses) {
      const bool free = std::none_of(others.begin(), others.end(), [&](const auto& other) { return left.count(other) > 0; });
      if (left.count(room) > 0 && free) taken = left.erase(room) > 0;
    }
  }
  std::string circle;
  for (const std::string& room : left) circle += " " + room;
  EXPECT_TRUE(left.empty()) << "these operations use each other in a circle:" << circle;
}

}  // namespace
}  // namespace koine
