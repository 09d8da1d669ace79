"""The check of an answer in Japanese, which the Japanese notebooks import."""

from __future__ import annotations

from typing import Any

from nnarray.notebooks.exercises import Words, verdict

HINTS = {
    "1.1": "2 C + 30 = 1.8 C + 32 となるところで、規則と式は一致します。",
    "1.2": "区間が 64 個のとき、誤差は 0.0012 です。区間を 2 倍にすると、誤差は 4 分の 1 になります。",
    "1.3": "0.5 の内側では e ** 2 / 2、外側では 0.5 * (abs(e) - 0.25) です。",
    "1.4": "新しい傾き = 傾き - 学習率 * 微分。マイナス掛けるマイナスはプラスです。",
    "2.1": "W1 と b1 の要素を数え、次に W2 と b2 の要素を数えます。",
    "2.2": "1 に 3 を、2 に 4 を掛け、2 つの積を足してから 0.5 を足します。",
    "2.3": "行は例ごとに 1 つ、列はニューロンごとに 1 つです。",
    "2.4": "それぞれの数の math.exp をとり、その和で割ります。",
    "3.1": "u = w x の x についての変化率は w です。それに du = -1.061 を掛けます。",
    "3.2": "2 * (a - t) * (1 - a ** 2) * x、ただし a = math.tanh(w * x + b) です。",
    "3.3": "A と dZ の行: 2 * 0.1 + 0 * 0.4 + (-1) * 0.1。A の列 2 と dZ の列 1 を見てください。",
    "3.4": "パラメータ 1 つにつき、損失を 2 回計算します。",
    "4.1": "32 x 32 の位置、3 つのチャネル、100 個のニューロンです。",
    "4.2": "3 行のカーネルは、上から下まで 64 - 2 の位置に収まります。",
    "4.3": "5 x 5 の位置、3 つのチャネル、16 個のカーネルで、バイアスはありません。",
    "4.4": "最初の畳み込みは 1 x 1 x 192 x 16、2 つ目は 5 x 5 x 16 x 32 です。",
    "5.1": "16 個のマスの行が 16 行あります。",
    "6.1": "どの文字の確率も 1 / 45 です。その対数 math.log にマイナスを付けます。",
    "6.2": "入力のために 3 x 2 個、状態のために 2 x 2 個、さらに 2 つのユニットにバイアスが 2 つずつあります。",
    "6.3": "積は 2 と -2 です。4 の平方根 2 で割り、1 と -1 のソフトマックスを計算します。",
    "6.4": "各スコアの math.exp をその和で割り、値を掛けて足します。",
    "6.5": "まずロジットを 0.5 で割ります。4 と 0 のソフトマックスを計算してください。",
}

JAPANESE = Words(
    line="問題 {name}: {said}",
    right="正解です！",
    missing="まだです。3 つの点の代わりに答えを書いて、もう一度セルを実行してください。",
    no_function="def で始まる関数を書いてください。今の答えは {answer} です。",
    stops="まだ正しくありません。{arguments} を渡すと、あなたの関数は {error} で止まります。",
    nothing="まだです。あなたの関数は何も返しません。中身を書き、最後に return を書いてください。",
    wrong="まだ正しくありません。今の答えは {answer} です。",
    wrong_there="まだ正しくありません。{arguments} を渡すと {answer} になります。",
    wrong_one="まだ正しくありません。答えは 1 つの数です。今の答えは {answer} です。",
    wrong_many="まだ正しくありません。答えは {count} 個の数です。今の答えは {answer} です。",
    quotes="数は引用符なしで書いてください。",
    hint=" ヒント: {hint}",
    hints=HINTS,
)


def check(name: str, answer: Any) -> None:
    """Print in Japanese whether the answer to an exercise is right; as `nnarray.notebooks.check`.

    Examples
    --------
    >>> from nnarray.notebooks.japanese import check
    >>> check("2.1", 27)
    問題 2.1: 正解です！
    """
    print(verdict(name, answer, JAPANESE))
