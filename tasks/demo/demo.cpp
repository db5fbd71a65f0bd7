#include "tasks/demo/demo.h"

#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/text_file.h"
#include "tasks/common/task.h"
#include "tasks/demo/languages.h"
#include "tasks/demo/texts.h"
#include "tasks/text/text_form.h"

namespace koine {

namespace demo {

namespace {

/// Streams of random numbers, one a file; files that exist per language add the language's place.
enum Stream : std::uint32_t {
  kTextStream = 1,
  kTextDevStream = 101,
  kNliTrainStream = 201,
  kNliDevStream,
  kXnliDevStream,
  kXnliTestStream,
  kSquadTrainStream,
  kSquadDevStream,
  kXquadStream,
  kPosTrainStream,
  kPosDevStream,
  kPosTestStream,
  kTatoebaStream = 301,
};

const char* label_name(Label label) {
  return label == Label::kEntailment ? "entailment" : label == Label::kNeutral ? "neutral" : "contradiction";
}

class Writer {
 public:
  Writer(std::filesystem::path directory, std::uint32_t seed, const DemoSizes& sizes)
      : directory_(std::move(directory)), seed_(seed), sizes_(sizes) {
    for (const Language& language : languages()) speakers_.emplace_back(seed, language);
  }

  void write_all() const {
    write_text();
    write_mnli("train", Split::kTrain, kNliTrainStream, sizes_.nli_train);
    write_mnli("dev_matched", Split::kDev, kNliDevStream, sizes_.nli_dev);
    write_xnli("dev", Split::kDev, kXnliDevStream, sizes_.xnli_dev);
    write_xnli("test", Split::kTest, kXnliTestStream, sizes_.xnli_test);
    write_squad();
    write_pos();
    write_tatoeba();
    write_lexicon();
    write_text_forms();
  }

 private:
  const Speaker& source() const { return speakers_.front(); }

  void write(const std::filesystem::path& name, const std::string& content) const {
    const std::filesystem::path path = directory_ / name;
    make_directory(path.parent_path());
    write_file_atomically(path, content);
  }

  void write_text() const {
    for (std::size_t i = 0; i < speakers_.size(); ++i) {
      const Language& language = speakers_[i].language();
      const double share = language.low_resource ? sizes_.low_resource_share : 1;
      const std::int64_t train = std::max<std::int64_t>(1, std::llround(share * static_cast<double>(sizes_.text_passages)));
      const std::uint32_t place = static_cast<std::uint32_t>(i);
      const std::string name = "mlm/" + std::string(language.code);
      write(name + ".train.txt", lines(speakers_[i], Split::kTrain, kTextStream + place, train));
      write(name + ".dev.txt", lines(speakers_[i], Split::kDev, kTextDevStream + place, sizes_.text_dev_passages));
    }
  }

  std::string lines(const Speaker& speaker, Split split, std::uint32_t stream, std::int64_t count) const {
    Draws draws(seed_, stream);
    std::string text;
    for (std::int64_t i = 0; i < count; ++i) text += random_line(speaker, source(), split, draws) + "\n";
    return text;
  }

  /// Pairs, a third of each label, in random order, none twice.
  std::vector<Inference> inferences(Split split, std::uint32_t stream, std::int64_t count) const {
    Draws draws(seed_, stream);
    std::set<std::pair<Event, Event>> seen;
    std::vector<Inference> all;
    while (static_cast<std::int64_t>(all.size()) < count / 3 * 3) {
      const Inference inference = random_inference(static_cast<Label>(all.size() % 3), split, draws);
      if (seen.emplace(inference.premise, inference.hypothesis).second) all.push_back(inference);
    }
    draws.shuffle(all);
    return all;
  }

  void write_mnli(const std::string& split_name, Split split, std::uint32_t stream, std::int64_t count) const {
    std::string text;
    std::int64_t number = 0;
    for (const Inference& inference : inferences(split, stream, count)) {
      const std::string prompt = std::to_string(++number);
      const nlohmann::ordered_json row = {{"annotator_labels", {label_name(inference.label)}},
                                          {"genre", "demo"},
                                          {"gold_label", label_name(inference.label)},
                                          {"pairID", prompt + label_name(inference.label)[0]},
                                          {"promptID", prompt},
                                          {"sentence1", source().text(source().say(inference.premise))},
                                          {"sentence1_binary_parse", ""},
                                          {"sentence1_parse", ""},
                                          {"sentence2", source().text(source().say(inference.hypothesis))},
                                          {"sentence2_binary_parse", ""},
                                          {"sentence2_parse", ""}};
      text += row.dump() + "\n";
    }
    write("mnli/multinli_1.0/multinli_1.0_" + split_name + ".jsonl", text);
  }

  void write_xnli(const std::string& split_name, Split split, std::uint32_t stream, std::int64_t count) const {
    const std::vector<Inference> all = inferences(split, stream, count);
    std::string text =
        "language\tgold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\t"
        "sentence2\tpromptID\tpairID\tgenre\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tsentence1_tokenized\tsentence2_"
        "tokenized\t"
        "match\n";
    for (const Speaker& speaker : speakers_) {
      std::int64_t number = 0;
      for (const Inference& inference : all) {
        const std::string id = std::to_string(++number);
        text += std::string(speaker.language().code) + "\t" + label_name(inference.label) + "\t\t\t\t\t" +
                speaker.text(speaker.say(inference.premise)) + "\t" + speaker.text(speaker.say(inference.hypothesis)) +
                "\t" + id + "\t" + id + "\tdemo\t\t\t\t\t\t\t\t\n";
      }
    }
    write("xnli/XNLI-1.0/xnli." + split_name + ".tsv", text);
  }

  std::vector<ReadingPassage> reading_passages(Split split, std::uint32_t stream, std::int64_t questions) const {
    Draws draws(seed_, stream);
    std::vector<ReadingPassage> all;
    for (std::int64_t i = 0; i < questions / 2; ++i) all.push_back(random_reading_passage(split, draws));
    return all;
  }

  /// One article with all passages.
  static std::string squad_json(const Speaker& speaker, const std::vector<ReadingPassage>& passages,
                                const std::string& name) {
    nlohmann::ordered_json paragraphs = nlohmann::ordered_json::array();
    std::int64_t number = 0;
    for (const ReadingPassage& passage : passages) {
      const ReadingText text = say(speaker, passage);
      nlohmann::ordered_json questions = nlohmann::ordered_json::array();
      for (const ReadingText::Item& item : text.items) {
        questions.push_back({{"answers", {{{"answer_start", item.answer_start}, {"text", item.answer}}}},
                             {"question", item.question},
                             {"id", name + "-" + std::to_string(++number)}});
      }
      paragraphs.push_back({{"context", text.context}, {"qas", questions}});
    }
    const nlohmann::ordered_json article = {{"title", name}, {"paragraphs", paragraphs}};
    return nlohmann::ordered_json({{"data", {article}}, {"version", "1.1"}}).dump() + "\n";
  }

  void write_squad() const {
    write("squad/train-v1.1.json",
          squad_json(source(), reading_passages(Split::kTrain, kSquadTrainStream, sizes_.squad_train), "train"));
    write("squad/dev-v1.1.json",
          squad_json(source(), reading_passages(Split::kDev, kSquadDevStream, sizes_.squad_dev), "dev"));
    const std::vector<ReadingPassage> test = reading_passages(Split::kTest, kXquadStream, sizes_.xquad_test);
    for (const Speaker& speaker : speakers_) {
      write("xquad/xquad." + std::string(speaker.language().code) + ".json", squad_json(speaker, test, "test"));
    }
  }

  /// Different events, with two to four modifiers.
  std::vector<Event> events(Split split, std::uint32_t stream, std::int64_t count) const {
    Draws draws(seed_, stream);
    std::set<Event> seen;
    std::vector<Event> all;
    while (static_cast<std::int64_t>(all.size()) < count) {
      const Event event = with_modifiers(bare_event(draws), 2 + draws.below(3), draws);
      if (split_of(event) == split && seen.insert(event).second) all.push_back(event);
    }
    return all;
  }

  static std::string conllu(const Speaker& speaker, const std::vector<Event>& events, const std::string& name) {
    std::string text;
    for (std::size_t i = 0; i < events.size(); ++i) {
      const Sentence sentence = speaker.say(events[i]);
      text += "# sent_id = " + name + "-" + std::to_string(i + 1) + "\n# text = " + speaker.text(sentence) + "\n";
      std::map<char, std::size_t> heads;
      for (std::size_t k = 0; k < sentence.size(); ++k) {
        if (sentence[k].head) heads[sentence[k].part] = k + 1;
      }
      for (std::size_t k = 0; k < sentence.size(); ++k) {
        const Word& word = sentence[k];
        const bool root = word.head && word.part == 'V';
        const std::size_t head = root ? 0 : word.head || word.part == '.' ? heads.at('V') : heads.at(word.part);
        text += std::to_string(k + 1) + "\t" + word.form + "\t" + word.lemma + "\t" + word.upos + "\t_\t_\t" +
                std::to_string(head) + "\t" + word.relation + "\t_\t" +
                (speaker.blank_after(sentence, k) ? "_" : "SpaceAfter=No") + "\n";
      }
      text += "\n";
    }
    return text;
  }

  void write_pos() const {
    const auto name = [](const Speaker& speaker, const std::string& split) {
      return "udpos/ud-treebanks-v2.5/UD_" + std::string(speaker.language().name) + "-Demo/" +
             std::string(speaker.language().code) + "_demo-ud-" + split + ".conllu";
    };
    write(name(source(), "train"), conllu(source(), events(Split::kTrain, kPosTrainStream, sizes_.pos_train), "train"));
    write(name(source(), "dev"), conllu(source(), events(Split::kDev, kPosDevStream, sizes_.pos_dev), "dev"));
    const std::vector<Event> test = events(Split::kTest, kPosTestStream, sizes_.pos_test);
    for (const Speaker& speaker : speakers_) write(name(speaker, "test"), conllu(speaker, test, "test"));
  }

  /// Events without names, digits and international words: what is spelled alike everywhere would give the pairs of Tatoeba
  /// away.
  std::vector<Event> nameless_events(std::uint32_t stream, std::int64_t count) const {
    Draws draws(seed_, stream);
    std::set<Event> seen;
    std::vector<Event> all;
    const auto given_away = [](int number) {
      if (number < 0) return false;
      const Concept& meaning = concepts()[static_cast<std::size_t>(number)];
      return meaning.international || meaning.category == Category::kPerson || meaning.category == Category::kTown;
    };
    while (static_cast<std::int64_t>(all.size()) < count) {
      Event event = random_event(Split::kTest, draws);
      event.object.number_word = event.object.count > 0;
      if (given_away(event.subject.head) || given_away(event.object.head) || given_away(event.place) ||
          given_away(event.companion))
        continue;
      if (seen.insert(event).second) all.push_back(event);
    }
    return all;
  }

  void write_tatoeba() const {
    for (std::size_t i = 1; i < speakers_.size(); ++i) {
      std::string foreign;
      std::string english;
      for (const Event& event : nameless_events(kTatoebaStream + static_cast<std::uint32_t>(i), sizes_.tatoeba)) {
        foreign += speakers_[i].text(speakers_[i].say(event)) + "\n";
        english += source().text(source().say(event)) + "\n";
      }
      const std::string code(speakers_[i].language().code);
      write("tatoeba/v1/tatoeba." + code + "-eng." + code, foreign);
      write("tatoeba/v1/tatoeba." + code + "-eng.eng", english);
    }
  }

  void write_lexicon() const {
    std::string text = "gloss";
    for (const Speaker& speaker : speakers_) text += "\t" + std::string(speaker.language().code);
    text += "\n";
    for (std::size_t i = 0; i < concepts().size(); ++i) {
      text += concepts()[i].gloss;
      for (const Speaker& speaker : speakers_) text += "\t" + speaker.lexicon().form(static_cast<int>(i));
      text += "\n";
    }
    write("lexicon.tsv", text);
  }

  /// The words that tasks are put in where they are texts, without sentences: for a tokenizer that is to know them. Often enough
  /// that they are a few pieces each instead of letters and bytes.
  void write_text_forms() const {
    constexpr int kRepeated = 500;
    std::string once = question_text("", "") + "\n";
    const TextForm inference = text_form_of(find_task("xnli").row());
    for (const std::string& word : inference.words) once += inference.labelled_text("", "") + " " + word + "\n";
    std::string text;
    for (int i = 0; i < kRepeated; ++i) text += once;
    write("text-forms.txt", text);
  }

  std::filesystem::path directory_;
  std::uint32_t seed_;
  DemoSizes sizes_;
  std::deque<Speaker> speakers_;
};

}  // namespace

}  // namespace demo

const std::vector<DemoLanguage>& demo_languages() {
  static const std::vector<DemoLanguage> list = [] {
    std::vector<DemoLanguage> all;
    for (const demo::Language& language : demo::languages()) {
      all.push_back({std::string(language.code), std::string(language.name), std::string(language.description),
                     language.low_resource});
    }
    return all;
  }();
  return list;
}

void write_demo_data(const std::filesystem::path& directory, std::uint32_t seed, const DemoSizes& sizes) {
  demo::Writer(directory, seed, sizes).write_all();
}

}  // namespace koine
